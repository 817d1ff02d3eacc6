package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/logchain/logsearch"
)

const (
	storyTimeout = 9 * time.Second
	maxLines     = 500
	maxTail      = 4 << 20 // bytes of the proxy's log in which recent requests are looked for
	maxRequests  = 50
	around       = 15 * time.Second
)

// story answers with the lines of a request from all processes, in the order of time.
func (c *Console) story(w http.ResponseWriter, r *http.Request) {
	reader, err := logsearch.New(c.cfg.LogDir, r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(r.Context(), storyTimeout)
	defer cancel()
	found, err := reader.Read(ctx)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	lines := []json.RawMessage{}
	for _, l := range found[:min(len(found), maxLines)] {
		if json.Valid([]byte(l.Text)) {
			lines = append(lines, json.RawMessage(l.Text))
		}
	}
	if len(lines) == 0 {
		refuse(w, http.StatusNotFound, "no log of this pod has a line of request "+r.PathValue("id"))
		return
	}
	answer(w, map[string]any{"id": r.PathValue("id"), "lines": lines})
}

// requests lists the newest access lines; with ?at=MILLISECONDS those that ended around that time.
func (c *Console) requests(w http.ResponseWriter, r *http.Request) {
	from, to := time.Time{}, time.Now().Add(time.Minute)
	if at := r.URL.Query().Get("at"); at != "" {
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "at must be milliseconds since 1970")
			return
		}
		from, to = time.UnixMilli(ms).Add(-around), time.UnixMilli(ms).Add(around)
	}
	tail, err := readTail(filepath.Join(c.cfg.LogDir, "proxy.log"))
	if err != nil && !os.IsNotExist(err) {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	found := []json.RawMessage{}
	for _, line := range bytes.Split(tail, []byte("\n")) {
		var l struct {
			TS  time.Time
			Msg string
		}
		if bytes.Contains(line, []byte(`"msg":"request"`)) && json.Unmarshal(line, &l) == nil && l.Msg == "request" && l.TS.After(from) && l.TS.Before(to) {
			found = append(found, json.RawMessage(line))
		}
	}
	slices.Reverse(found)
	answer(w, map[string]any{"requests": found[:min(len(found), maxRequests)]})
}

// readTail returns the last whole lines of a file.
func readTail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	at := max(0, size-maxTail)
	text, err := io.ReadAll(io.NewSectionReader(f, at, size-at))
	if at > 0 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text, err
}
