package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/unixsock"
)

func TestEngineAnswersWhileItsModelLoads(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	open, loading := e.open, make(chan struct{})
	e.open = func() (backend, error) { <-loading; return open() }
	e.start()
	var s api.EngineState
	r := e.call(http.MethodGet, api.PathState, "")
	if err := json.Unmarshal([]byte(r.body), &s); err != nil || s.Phase != api.PhaseLoading || s.Boot != e.Engine.log.Boot() || s.Model != "random" {
		t.Errorf("%s: %v", r.body, err)
	}
	for _, ask := range []struct{ method, path string }{{"POST", chatPath}, {"POST", completionPath}, {"GET", "/v1/models"}} {
		r := e.call(ask.method, ask.path, hello+`}`)
		if r.status != 503 || r.error(t).Error.Code != "model_loading" || r.header.Get("Retry-After") != "1" || r.header.Get(api.HeaderFinish) != "shed" {
			t.Errorf("%s: %d %v %s", ask.path, r.status, r.header, r.body)
		}
	}
	if r := e.call(http.MethodGet, api.PathMetrics, ""); r.status != 200 || !strings.Contains(r.body, "semantic_build_info") {
		t.Errorf("metrics: %d", r.status)
	}
	close(loading)
	e.waitReady()
	if r := e.post(chatPath, hello+`}`); r.status != 200 {
		t.Errorf("after loading: %d %s", r.status, r.body)
	}
}

func TestModelThatCannotBeLoadedIsAFatalErrorThatSaysHowToGiveOne(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte("no model at all, but long enough to hold a header"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(testConfig(t).Model)
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, "torn.gguf")
	if err := os.WriteFile(torn, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.gguf")
	ways := []string{"make model", "--model PATH", "SEMANTIC_MODEL", `key "model"`}
	for path, want := range map[string][]string{
		missing: append(ways, "--model="+missing), "": append(ways, "no model was given"),
		text: {"--model=" + text, "not a GGUF file"}, torn: {"--model=" + torn}, dir: {"--model=" + dir},
	} {
		cfg := testConfig(t)
		cfg.Model = path
		e := newTestEngine(t, cfg)
		e.start()
		select {
		case err := <-e.Err():
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q: %q does not say %q", path, err, w)
				}
			}
			if s := e.State(); s.Phase != api.PhaseLoading || s.LoadError != err.Error() {
				t.Errorf("%q: state %+v", path, s)
			}
		case <-time.After(testWait):
			t.Errorf("%q: no error", path)
		}
	}
}

func TestContextBeyondTheModelsIsAnErrorThatNamesTheFlag(t *testing.T) {
	cfg := testConfig(t)
	cfg.Context = 513
	e := newTestEngine(t, cfg)
	e.start()
	select {
	case err := <-e.Err():
		if !strings.Contains(err.Error(), "--context=513 is more than the 512 tokens") {
			t.Error(err)
		}
	case <-time.After(testWait):
		t.Error("no error")
	}
}

func TestSocketOfALiveEngineIsRefused(t *testing.T) {
	e := startEngine(t, testConfig(t))
	second := newTestEngine(t, e.cfg)
	if err := second.Start(); !errors.Is(err, unixsock.ErrHeld) {
		t.Errorf("got %v", err)
	}
	if r := e.call(http.MethodGet, api.PathState, ""); r.status != 200 {
		t.Errorf("the first engine: %d", r.status)
	}
}

func TestContradictoryConfigurationIsRefusedByName(t *testing.T) {
	for flag, change := range map[string]func(*Config){
		"--queue-depth=0":        func(c *Config) { c.QueueDepth = 0 },
		"--max-batch=0":          func(c *Config) { c.MaxBatch = 0 },
		"--step-tokens=0":        func(c *Config) { c.StepTokens = 0 },
		"--threads=-1":           func(c *Config) { c.Threads = -1 },
		"--context=-1":           func(c *Config) { c.Context = -1 },
		"--kv-memory=-1":         func(c *Config) { c.KVMemory = -1 },
		"--default-max-tokens=0": func(c *Config) { c.DefaultMaxTokens = 0 },
		"--persist-timeout=0s":   func(c *Config) { c.PersistTimeout = 0 },
		"--model-alias":          func(c *Config) { c.ModelAlias = []string{"default"} },
	} {
		cfg := testConfig(t)
		change(&cfg)
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}

func TestStopWithoutConnectionsIsAtOnce(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	before := runtime.NumGoroutine()
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	e.waitReady()
	e.post(chatPath, hello+`}`)
	e.client.CloseIdleConnections()
	began := time.Now()
	if err := e.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := os.Lstat(e.cfg.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stayed: %v", err)
	}
	e.until("every goroutine ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStoppingEngineServesItsProxyUntilThatLetsGo(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	g := e.hold()
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	e.waitReady()
	early := e.async(t.Context(), ask("a", 5))
	e.until("the first runs", func() bool { return g.begun() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- e.Stop(t.Context()) }()
	e.until("it is stopping", func() bool { return e.State().Phase == api.PhaseStopping })
	late := e.async(t.Context(), ask("b", 5))
	e.until("the second is in", func() bool { s := e.State(); return s.Running+s.Queued == 2 })
	g.open()
	for _, a := range []<-chan reply{early, late} {
		if r := <-a; r.status != 200 || r.outcome(api.HeaderFinish) != "length" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped while its proxy was connected: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	e.client.CloseIdleConnections()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testWait):
		t.Error("did not stop after its proxy had let go")
	}
}

func TestWhatStillRunsAtTheEndOfTheTimeIsDrained(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBatch = 2
	cfg.PersistTimeout = time.Second
	e := newTestEngine(t, cfg)
	g := e.hold()
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	e.waitReady()
	ticking := make(chan struct{})
	pace := make(chan struct{})
	go func() { // some steps a second, for as long as they are taken
		defer close(pace)
		for {
			select {
			case g.tickets <- struct{}{}:
				time.Sleep(20 * time.Millisecond)
			case <-ticking:
				return
			}
		}
	}()
	streaming := e.async(t.Context(), `{"model":"default","prompt":"a","temperature":0,"max_tokens":400,"stream":true}`)
	e.until("the stream runs", func() bool { return e.State().Running == 1 && g.begun() > 2 })
	whole := e.async(t.Context(), ask("b", 400))
	queued := e.async(t.Context(), ask("c", 400))
	e.until("all are in", func() bool { s := e.State(); return s.Running == 2 && s.Queued == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // leaves half a second for the ends
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("the end came too late for those who had given the time")
	}
	close(ticking)
	<-pace
	r := <-streaming
	if r.status != 200 || strings.Contains(r.body, "[DONE]") || !strings.Contains(r.body, `"code":"shutting_down"`) || r.trailer.Get(api.HeaderFinish) != "drained" {
		t.Errorf("the stream: %d %v %s", r.status, r.trailer, r.body)
	}
	for _, a := range []<-chan reply{whole, queued} {
		if r := <-a; r.status != 503 || r.header.Get(api.HeaderFinish) != "drained" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s", r.status, r.header, r.body)
		}
	}
	if _, err := net.Dial("unix", e.cfg.Socket); err == nil {
		t.Error("the socket still answers")
	}
}

func TestStopDuringLoadingIsClean(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	open, loading := e.open, make(chan struct{})
	e.open = func() (backend, error) { <-loading; return open() }
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { close(loading) })
	if err := e.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
