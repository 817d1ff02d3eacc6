package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/upstream"
)

// faulty is an upstream over TCP that does what no sound server does on demand. Each
// test writes its own faults; what sound servers do is tested with sound servers.
type faulty struct {
	*httptest.Server
	owner string // by which it is known as vllm, llamacpp or semantic
	serve func(w http.ResponseWriter, r *http.Request, asked map[string]any)

	health atomic.Int64 // status of GET /health
	expo   atomic.Value // string: its metrics
	calls  atomic.Int64 // requests for answers

	mu     sync.Mutex
	bodies []map[string]any
	seen   []*http.Request
}

func startFaulty(t testing.TB, owner string, serve func(http.ResponseWriter, *http.Request, map[string]any)) *faulty {
	t.Helper()
	f := &faulty{owner: owner, serve: serve}
	f.health.Store(http.StatusOK)
	f.expo.Store("")
	f.Server = httptest.NewServer(http.HandlerFunc(f.handle))
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func (f *faulty) handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		w.WriteHeader(int(f.health.Load()))
	case "/metrics":
		fmt.Fprint(w, f.expo.Load())
	case "/v1/models":
		fmt.Fprintf(w, `{"object":"list","data":[{"id":"org/model","created":1700000000,"owned_by":%q}]}`, f.owner)
	default:
		body, _ := io.ReadAll(r.Body)
		asked := map[string]any{}
		_ = json.Unmarshal(body, &asked)
		f.mu.Lock()
		f.bodies, f.seen = append(f.bodies, asked), append(f.seen, r)
		f.mu.Unlock()
		f.calls.Add(1)
		f.serve(w, r, asked)
	}
}

// asked returns the last body.
func (f *faulty) asked(t testing.TB) map[string]any {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) == 0 {
		t.Fatal("the upstream was not asked")
	}
	return f.bodies[len(f.bodies)-1]
}

// Events of a sound stream.
const (
	pieceEvent = `{"choices":[{"index":0,"delta":{"content":"one "},"finish_reason":null}],"usage":null}`
	moreEvent  = `{"choices":[{"index":0,"delta":{"content":"two"},"finish_reason":null}],"usage":null}`
	endEvent   = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`
	usageEvent = `{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":3}}}`
	doneEvent  = `[DONE]`
)

// sends writes events and ends the stream.
func sends(events ...string) func(http.ResponseWriter, *http.Request, map[string]any) {
	return func(w http.ResponseWriter, _ *http.Request, _ map[string]any) { send(w, events...) }
}

func send(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, e := range events {
		fmt.Fprintf(w, "data: %s\n\n", e)
		w.(http.Flusher).Flush()
	}
}

func sound(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
	send(w, pieceEvent, moreEvent, endEvent, usageEvent, doneEvent)
}

// answers returns a handler that refuses.
func answers(status int, body string, headers ...string) func(http.ResponseWriter, *http.Request, map[string]any) {
	return func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// remoteConfig is of an engine in front of these upstreams.
func remoteConfig(t testing.TB, urls ...string) Config {
	cfg := testConfig(t)
	cfg.Model, cfg.ModelName, cfg.Threads, cfg.KVMemory = "", "", 0, 0
	cfg.Backend = BackendUpstream
	cfg.Upstream = upstream.Config{
		URLs: urls, HeaderTimeout: testWait, IdleTimeout: testWait, HealthInterval: 20 * time.Millisecond,
	}
	return cfg
}

// startRemote starts such an engine and waits until all upstreams are up.
func startRemote(t testing.TB, cfg Config) *testEngine {
	t.Helper()
	e := startEngine(t, cfg)
	e.until("all upstreams are up", func() bool { return e.remote().fleet.Load().Up == len(cfg.Upstream.URLs) })
	return e
}

func (e *testEngine) remote() *remote { return e.current().(*remote) }

func urlsOf(all ...*faulty) []string {
	urls := make([]string, len(all))
	for i, f := range all {
		urls[i] = f.URL
	}
	return urls
}

const greeting = `{"model":"default","messages":[{"role":"user","content":"hello"}]}`

func streamed(body string) string { return strings.Replace(body, "{", `{"stream":true,`, 1) }

// value returns a series of the engine's metrics.
func (e *testEngine) value(series string) string {
	for line := range strings.Lines(e.call(http.MethodGet, api.PathMetrics, "").body) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
