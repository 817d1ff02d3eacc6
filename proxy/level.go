package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/semantic-pod/semantic/api"
	"go.uber.org/zap"
)

// levelTimeout bounds the change of one process's log level.
const levelTimeout = 2 * time.Second

// answerLogLevel changes the log level of a running process, or of all three:
// {"level":"debug","process":"engine"}. The answer tells of each what is in force.
func (p *Proxy) answerLogLevel(x *exchange) {
	var ask struct {
		Level   string `json:"level"`
		Process string `json:"process"`
	}
	if err := json.Unmarshal(x.body, &ask); err != nil {
		x.fail(&api.Error{Status: http.StatusBadRequest, Code: "invalid_json", Message: `the body must be such as {"level":"debug","process":"engine"}: ` + err.Error()})
		return
	}
	switch ask.Level {
	case "debug", "info", "warn", "error":
	default:
		x.fail(&api.Error{Status: http.StatusBadRequest, Code: "invalid_value", Param: "level", Message: fmt.Sprintf("level is %.32q: write debug, info, warn or error", ask.Level)})
		return
	}
	sockets := map[string]string{"proxy": p.cfg.Socket, "engine": p.cfg.EngineSocket, "sidecar": filepath.Join(filepath.Dir(p.cfg.EngineSocket), "sidecar.sock")}
	if ask.Process != "" {
		socket, known := sockets[ask.Process]
		if !known {
			x.fail(&api.Error{Status: http.StatusBadRequest, Code: "invalid_value", Param: "process", Message: fmt.Sprintf("process is %.32q: write proxy, engine or sidecar, or leave it out for all", ask.Process)})
			return
		}
		sockets = map[string]string{ask.Process: socket}
	}
	status, levels := http.StatusOK, map[string]string{}
	for process, socket := range sockets {
		if err := p.setLevel(process, socket, ask.Level); err != nil {
			status, levels[process] = http.StatusBadGateway, "not changed: "+err.Error()
			x.finish = api.FinishError
			continue
		}
		levels[process] = ask.Level
	}
	p.log.Announce("an admin changes the log level", zap.ByteString("request_id", x.id), zap.String("level_asked", ask.Level), zap.Int("changed", len(levels)))
	body, err := json.Marshal(map[string]any{"levels": levels})
	if err != nil {
		panic(err) // strings only
	}
	x.probe(answer{status, body})
}

// setLevel changes our own level, or another process's over its socket.
func (p *Proxy) setLevel(process, socket, level string) error {
	if process == "proxy" {
		return p.log.SetLevel(level)
	}
	client := http.Client{Timeout: levelTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	body, err := json.Marshal(map[string]string{"level": level})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPut, "http://"+process+api.PathLogLevel, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		told, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s answered %d %s", process, resp.StatusCode, told)
	}
	return nil
}
