package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/telemetry"
)

const testWait = 60 * time.Second // for what must happen; a failure, not a pace

// testEngine is an engine on a socket of its own, with a client.
type testEngine struct {
	*Engine
	t      testing.TB
	client *http.Client
	log    string // path of its log
	gate   *gate  // nil unless held
}

// testConfig returns the configuration of an engine with a small random model.
func testConfig(t testing.TB) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Config{
		Model: enginetest.Model(t, enginetest.Shape{}), ModelName: "random", ModelAlias: []string{"other"},
		Threads: 1, KVMemory: 8 << 20, QueueDepth: 16, MaxBatch: 8, StepTokens: 32, DefaultMaxTokens: 24,
		PersistTimeout: 5 * time.Second, SwapPatience: testWait, Socket: filepath.Join(dir, "engine.sock"),
	}
}

// newTestEngine makes an engine that has not started.
func newTestEngine(t testing.TB, cfg Config) *testEngine {
	t.Helper()
	dir := t.TempDir()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "engine", Dir: dir, Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.Socket)
	}
	te := &testEngine{Engine: e, t: t, log: filepath.Join(dir, "engine.log"), client: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 100},
		Timeout:   testWait,
	}}
	t.Cleanup(func() {
		te.client.CloseIdleConnections()
		log.Close()
	})
	return te
}

// start starts the engine and stops it when the test is over.
func (e *testEngine) start() {
	e.t.Helper()
	if err := e.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		e.client.CloseIdleConnections()
		if e.gate != nil {
			e.gate.open()
		}
		if err := e.Stop(e.t.Context()); err != nil && e.t.Context().Err() == nil {
			e.t.Errorf("stop: %v", err)
		}
	})
}

// startEngine starts an engine and waits until its model is loaded.
func startEngine(t testing.TB, cfg Config) *testEngine {
	t.Helper()
	e := newTestEngine(t, cfg)
	e.start()
	e.waitReady()
	return e
}

func (e *testEngine) waitReady() {
	e.t.Helper()
	e.until("the engine is ready", func() bool {
		select {
		case err := <-e.Err():
			e.t.Fatal(err)
		default:
		}
		return e.State().Phase == api.PhaseReady
	})
}

// until waits for a condition that must come true.
func (e *testEngine) until(what string, ok func() bool) {
	e.t.Helper()
	for end := time.Now().Add(testWait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("waited in vain until %s; the state is %+v", what, e.State())
		}
	}
}

// reply is an answer, read whole.
type reply struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// request returns a request to the engine; headers come in pairs.
func (e *testEngine) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	e.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (e *testEngine) do(r *http.Request) (reply, error) {
	resp, err := e.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, resp.Trailer, string(body)}, err
}

func (e *testEngine) call(method, path, body string, headers ...string) reply {
	e.t.Helper()
	r, err := e.do(e.request(e.t.Context(), method, path, body, headers...))
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (e *testEngine) post(path, body string, headers ...string) reply {
	e.t.Helper()
	return e.call(http.MethodPost, path, body, headers...)
}

// outcome returns one of the engine's own headers, wherever it stands.
func (r reply) outcome(name string) string {
	if v := r.trailer.Get(name); v != "" {
		return v
	}
	return r.header.Get(name)
}

// apiError is the error of a body or of an event.
type apiError struct {
	Error struct {
		Message, Type, Code string
		Param               *string
	}
}

func (r reply) error(t testing.TB) apiError {
	t.Helper()
	var e apiError
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error.Message == "" {
		t.Fatalf("%d with %q is no error in OpenAI's shape: %v", r.status, r.body, err)
	}
	return e
}

// text returns what a completion says, from JSON or from a stream.
func (r reply) text(t testing.TB) string {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	var all strings.Builder
	for _, data := range append(events(r.body), r.body) {
		var chunk struct {
			Choices []struct {
				Text           string
				Message, Delta struct{ Content string }
			}
		}
		if json.Unmarshal([]byte(data), &chunk) == nil {
			for _, c := range chunk.Choices {
				all.WriteString(c.Text + c.Message.Content + c.Delta.Content)
			}
		}
	}
	return all.String()
}

// events returns the data of each event of a stream.
func events(body string) []string {
	var out []string
	for _, event := range strings.Split(body, "\n\n") {
		if data, ok := strings.CutPrefix(event, "data: "); ok {
			out = append(out, data)
		}
	}
	return out
}

// logLines returns the fields of the lines with that message.
func (e *testEngine) logLines(msg string) []map[string]any {
	e.t.Helper()
	if err := e.Engine.log.Sync(); err != nil {
		e.t.Fatal(err)
	}
	data, err := os.ReadFile(e.log)
	if err != nil {
		e.t.Fatal(err)
	}
	var out []map[string]any
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		var line map[string]any
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			e.t.Fatalf("%q: %v", s.Text(), err)
		}
		if line["msg"] == msg {
			out = append(out, line)
		}
	}
	return out
}

// gate stands before the model and lets one step through at a time.
type gate struct {
	forwarder
	tickets chan struct{}
	opened  sync.Once

	mu    sync.Mutex
	steps [][]model.Row // a copy of each step's rows, without their logits
}

// hold makes an engine whose model is held by a gate. It must not have started.
func (e *testEngine) hold() *gate {
	g := &gate{tickets: make(chan struct{})}
	open := e.open
	e.open = func() (backend, error) {
		b, err := open()
		if err == nil {
			n := b.(*native)
			g.forwarder, n.scheduler.model = n.scheduler.model, g // the loop is idle until the first submission
		}
		return b, err
	}
	e.gate = g
	return g
}

func (g *gate) Forward(p *model.Pool, rows []model.Row) error {
	g.mu.Lock()
	step := make([]model.Row, len(rows))
	for i, r := range rows {
		step[i] = model.Row{Token: r.Token, Position: r.Position}
	}
	g.steps = append(g.steps, step)
	g.mu.Unlock()
	<-g.tickets
	return g.forwarder.Forward(p, rows)
}

// begun returns how many steps have reached the gate.
func (g *gate) begun() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.steps)
}

// step lets n steps through.
func (g *gate) step(n int) {
	for range n {
		select {
		case g.tickets <- struct{}{}:
		case <-time.After(testWait):
			panic("no step came to the gate")
		}
	}
}

// open lets every step through from now on.
func (g *gate) open() { g.opened.Do(func() { close(g.tickets) }) }

// used returns how many blocks are held.
func (e *testEngine) used() int { return e.current().(*native).scheduler.blocks.Used() }
