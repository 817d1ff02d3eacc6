package telemetry

import (
	"encoding/json"
	"io"
	"net/http"
)

// maxLevelBody bounds the body of a change of level.
const maxLevelBody = 1 << 10

// ServeLevel answers PUT /internal/log-level on a process's socket: a body such as
// {"level":"debug"} changes the level of the running process. The answer has the level
// that is then in force.
func (l *Log) ServeLevel(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Level string `json:"level"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxLevelBody))
	if err == nil {
		err = json.Unmarshal(body, &ask)
	}
	if err == nil && ask.Level == "" {
		ask.Level = "none"
	}
	if err == nil {
		err = l.SetLevel(ask.Level)
	}
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]string{"process": l.process, "level": l.Level()}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer["error"] = err.Error()
	}
	_ = json.NewEncoder(w).Encode(answer) // an asker that left needs no answer
}
