package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/bench/measure"
)

const patience = time.Minute // for a line of the log

// engine is one `semantic engine`, with folders of its own.
type engine struct {
	*measure.Process
	client *http.Client
}

// startEngine returns when the model is loaded. With a control group the engine is started in it.
func startEngine(p plan, cgroup string, flags ...string) (*engine, error) {
	dir, err := os.MkdirTemp("", "crowd")
	if err != nil {
		return nil, err
	}
	e := &engine{}
	socket := filepath.Join(dir, "run", "engine.sock")
	e.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 512, DisableCompression: true,
	}}
	e.Process, err = measure.Start(dir, cgroup, 5*time.Millisecond, e.ready,
		append([]string{p.binary, "engine", "--data-dir", dir, "--model", p.model}, flags...)...)
	return e, err
}

func (e *engine) ready() bool {
	var state api.EngineState
	body, err := e.get(api.PathState)
	return err == nil && json.Unmarshal(body, &state) == nil && state.Phase == api.PhaseReady
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
		log, err := os.ReadFile(filepath.Join(e.Dir, "logs", "engine.log"))
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
	return e.Stop()
}
