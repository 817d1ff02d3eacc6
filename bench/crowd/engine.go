package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const patience = time.Minute // for a start and for a stop

// engine is one `semantic engine`, with folders of its own.
type engine struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	left   chan error
	dir    string
	client *http.Client
}

// startEngine returns when the model is loaded. With a control group the engine is started in it.
func startEngine(p plan, cgroup string, flags ...string) (*engine, error) {
	dir, err := os.MkdirTemp("", "crowd")
	if err != nil {
		return nil, err
	}
	e := &engine{dir: dir, left: make(chan error, 1)}
	socket := filepath.Join(dir, "run", "engine.sock")
	e.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 512, DisableCompression: true,
	}}
	args := append([]string{p.binary, "engine", "--data-dir", dir, "--model", p.model}, flags...)
	if cgroup != "" {
		args = append([]string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, cgroup}, args...)
	}
	e.cmd = exec.Command(args[0], args[1:]...)
	e.cmd.Stderr = &e.stderr
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { e.left <- e.cmd.Wait() }()
	if err := e.awaitReady(); err != nil {
		e.kill()
		return nil, fmt.Errorf("%w\n%s", err, e.stderr.String())
	}
	return e, nil
}

func (e *engine) awaitReady() error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var state api.EngineState
		if body, err := e.get(api.PathState); err == nil && json.Unmarshal(body, &state) == nil && state.Phase == api.PhaseReady {
			return nil
		}
		select {
		case err := <-e.left:
			e.left <- err
			return fmt.Errorf("the engine ended: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return errors.New("the engine is not ready")
}

func (e *engine) get(path string) ([]byte, error) {
	resp, err := e.client.Get("http://engine" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// metric returns the value of a series without labels, or the sum of those with any.
func (e *engine) metric(name string) (sum float64, err error) {
	text, err := e.get(api.PathMetrics)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// loaded is the log line by which an engine tells what it loaded.
type loaded struct {
	Weights float64 `json:"weight_bytes"`
	KV      float64 `json:"kv_bytes"`
}

// loaded waits for that line, which is written a moment after the engine is ready.
func (e *engine) loaded() (l loaded, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		log, err := os.ReadFile(filepath.Join(e.dir, "logs", "engine.log"))
		if err != nil {
			return l, err
		}
		for line := range bytes.Lines(log) {
			if bytes.Contains(line, []byte(`"model loaded"`)) && bytes.HasSuffix(line, []byte("\n")) {
				return l, json.Unmarshal(line, &l)
			}
		}
	}
	return l, errors.New("the engine's log does not tell what was loaded")
}

func (e *engine) stop() error {
	e.client.CloseIdleConnections()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-e.left:
		e.left <- err
		return errors.Join(err, os.RemoveAll(e.dir))
	case <-time.After(patience):
		return errors.New("the engine did not stop")
	}
}

// kill ends what stop has not ended.
func (e *engine) kill() {
	_ = e.cmd.Process.Kill()
	e.left <- <-e.left
	_ = os.RemoveAll(e.dir)
}
