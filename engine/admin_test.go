package engine

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// order sends an admin's order and returns what it did to the model.
func (e *testEngine) order(t *testing.T, path, body string, want int) (s modelState, fault apiError) {
	t.Helper()
	r := e.post(path, body)
	if r.status != want {
		t.Fatalf("%s %s: %d %s, want %d", path, body, r.status, r.body, want)
	}
	if want == http.StatusOK {
		if err := json.Unmarshal([]byte(r.body), &s); err != nil {
			t.Fatal(err)
		}
		return s, fault
	}
	return s, r.error(t)
}

// swapConfig has a disk, and a model whose served name follows its file's.
func swapConfig(t *testing.T) (cfg Config, other string) {
	cfg = agentConfig(t)
	cfg.ModelName, cfg.KVMemory = "", 8<<20
	other = filepath.Join(t.TempDir(), "another.gguf")
	if err := os.WriteFile(other, enginetest.Bytes(enginetest.Shape{Seed: 77, Layers: 3}), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg, other
}

func TestSwapPutsAnotherModelInPlaceAndBack(t *testing.T) {
	cfg, other := swapConfig(t)
	body := ask(strings.Repeat("swap ", 20), 30)
	lone := testWithout(cfg)
	lone.Model = other
	e := startOnce(t, freshSocket(t, lone))
	want := e.post(completionPath, body).text(t)
	e.stopNow()

	e = startEngine(t, cfg)
	before := e.post(completionPath, body, as("acme", "a")...).text(t)
	if before == want {
		t.Fatal("the two models answer alike")
	}
	s, _ := e.order(t, "/admin/model/swap", `{"model":"`+other+`"}`, 200)
	if s.Model != "another" || s.Path != other || s.Phase != api.PhaseReady || s.Warning != "" || s.DurationMS <= 0 || e.State().Model != "another" {
		t.Errorf("%+v, %+v", s, e.State())
	}
	r := e.post(completionPath, strings.Replace(body, "default", "another", 1), as("acme", "a")...)
	if got := r.text(t); got != want || r.number(t, api.HeaderCachedTokens) != 0 {
		t.Errorf("after the swap: %q with %s tokens cached, want %q of a fresh engine", got, r.outcome(api.HeaderCachedTokens), want)
	}
	if r := e.post(completionPath, strings.Replace(body, "default", "random", 1)); r.status != 404 {
		t.Errorf("the old model's name: %d", r.status)
	}
	e.order(t, "/admin/model/swap", `{"model":"`+cfg.Model+`"}`, 200)
	r = e.post(completionPath, body, as("acme", "a")...)
	if got := r.text(t); got != before || r.number(t, api.HeaderCachedTokens) < 64 {
		t.Errorf("swapped back: %q with %s tokens cached, want %q of the agent on disk", got, r.outcome(api.HeaderCachedTokens), before)
	}
	if n := e.metric("semantic_model_swap_duration_seconds_count"); n != 2 {
		t.Errorf("%g swaps were timed", n)
	}
	if got := e.call(http.MethodGet, "/admin/model", ""); !strings.Contains(got.body, `"phase":"ready"`) || !strings.Contains(got.body, `"weight_bytes":`) {
		t.Errorf("%s", got.body)
	}
}

func TestFailedSwapLeavesTheOldModelServing(t *testing.T) {
	cfg, other := swapConfig(t)
	cfg.Context = 512
	e := startEngine(t, cfg)
	before, state := e.post(chatPath, hello+"}", as("acme", "a")...), e.modelState()
	whole, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.gguf")
	small := filepath.Join(t.TempDir(), "small.gguf")
	for path, b := range map[string][]byte{short: whole[:len(whole)/2], small: enginetest.Bytes(enginetest.Shape{Context: 128})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for body, want := range map[string]int{
		`{"model":"/nowhere/m.gguf"}`: 422, `{"model":"` + short + `"}`: 422, `{"model":"` + small + `"}`: 422, // --context is more than it has
		`{"model":"` + cfg.CacheDir + `"}`: 422, `{"model":"nothing.gguf"}`: 422,
		`{"model":""}`: 400, `{"model":7}`: 400, `{}`: 400, `{"model":"a","force":true}`: 400, `[`: 400,
	} {
		_, fault := e.order(t, "/admin/model/swap", body, want)
		if want == 422 && (fault.Error.Code != "model_rejected" || !strings.Contains(fault.Error.Message, "stays")) {
			t.Errorf("%s: %+v", body, fault)
		}
		if got := e.modelState(); got != state {
			t.Errorf("%s: %+v, before %+v", body, got, state)
		}
	}
	r := e.post(chatPath, hello+"}", as("acme", "a")...)
	if r.text(t) != before.text(t) {
		t.Errorf("%q, before %q", r.text(t), before.text(t))
	}
	for _, path := range []string{"/admin/model/swap", "/admin/model/load", "/admin/cache/flush"} {
		if r := e.call(http.MethodGet, path, ""); r.status != 405 {
			t.Errorf("GET %s: %d", path, r.status)
		}
	}
}

// What runs when the order comes ends with the model that it began with; what comes
// meanwhile waits for the new one; a second order is refused.
func TestSwapLetsAnswersEndAndKeepsThoseThatCome(t *testing.T) {
	cfg, other := swapConfig(t)
	e := newTestEngine(t, cfg)
	gate := e.hold()
	e.start()
	e.waitReady()
	e.client.Timeout = 2 * testWait
	var wg sync.WaitGroup
	var old, late reply
	wg.Go(func() { old = e.post(completionPath, ask("the old one", 12)) })
	e.until("a step is held", func() bool { return gate.begun() == 1 })
	wg.Go(func() { e.order(t, "/admin/model/swap", `{"model":"`+other+`"}`, 200) })
	e.until("the new model is there", func() bool { return e.State().Model == "another" })
	wg.Go(func() { late = e.post(completionPath, ask("the new one", 12)) })
	e.until("it waits", func() bool { return e.State().Queued == 1 })
	if _, fault := e.order(t, "/admin/model/swap", `{"model":"`+other+`"}`, 409); fault.Error.Code != "model_busy" {
		t.Errorf("%+v", fault)
	}
	if s := e.State(); s.Phase != api.PhaseReady || s.LastStepAgeMS != 0 {
		t.Errorf("%+v", s)
	}
	gate.open()
	wg.Wait()
	first, second := old.text(t), late.text(t)
	if got := e.post(completionPath, ask("the new one", 12)).text(t); got != second {
		t.Errorf("what waited got %q, then %q", second, got)
	}
	e.order(t, "/admin/model/swap", `{"model":"`+cfg.Model+`"}`, 200)
	if got := e.post(completionPath, ask("the old one", 12)).text(t); got != first {
		t.Errorf("what ran got %q, then %q", first, got)
	}
}

// A folder of agents that cannot be opened any more keeps no model from its place: it serves, its agents
// live in memory, and the admin is told. Once the folder is there again, the next swap has it.
func TestSwapToAModelWhoseDiskCannotBeOpened(t *testing.T) {
	cfg, other := swapConfig(t)
	body := ask(strings.Repeat("no disk ", 20), 20)
	e := startOnce(t, cfg)
	before := e.post(completionPath, body, as("acme", "kept")...).text(t)
	e.stopNow()

	e = startEngine(t, freshSocket(t, cfg))
	aside := cfg.CacheDir + ".aside"
	if err := os.Rename(cfg.CacheDir, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.CacheDir, []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := e.order(t, "/admin/model/swap", `{"model":"`+other+`"}`, 200)
	if s.Model != "another" || s.Phase != api.PhaseReady || !strings.Contains(s.Warning, "agents are kept in memory alone") || !strings.Contains(s.Warning, "--cache-dir="+cfg.CacheDir) {
		t.Errorf("%+v", s)
	}
	want := e.post(completionPath, body, as("acme", "a")...).text(t)
	if r := e.post(completionPath, body, as("acme", "a")...); r.text(t) != want || r.number(t, api.HeaderCachedTokens) < 64 {
		t.Errorf("the agent's next turn: %q with %s tokens cached, want %q", r.text(t), r.outcome(api.HeaderCachedTokens), want)
	}
	if list := e.listed("acme"); len(list) != 1 || list["a"].Tier != "hot" {
		t.Errorf("agents without a disk: %+v", list)
	}
	if r := e.call(http.MethodDelete, agentsPath+"/a", "", as("acme", "")[:2]...); r.status != 200 || len(e.listed("acme")) != 0 {
		t.Errorf("the agent was not deleted: %d %s", r.status, r.body)
	}
	if err := errors.Join(os.Remove(cfg.CacheDir), os.Rename(aside, cfg.CacheDir)); err != nil {
		t.Fatal(err)
	}
	if s, _ := e.order(t, "/admin/model/swap", `{"model":"`+cfg.Model+`"}`, 200); s.Warning != "" {
		t.Errorf("with the folder back: %+v", s)
	}
	if r := e.post(completionPath, body, as("acme", "kept")...); r.text(t) != before || r.number(t, api.HeaderCachedTokens) < 64 {
		t.Errorf("the agent of the first life: %q with %s tokens cached, want %q", r.text(t), r.outcome(api.HeaderCachedTokens), before)
	}
}

func TestOffloadedModelIsRefusedUntilItIsLoaded(t *testing.T) {
	cfg, _ := swapConfig(t)
	e := startEngine(t, cfg)
	body := ask(strings.Repeat("come back ", 10), 20)
	want := e.post(completionPath, body, as("acme", "a")...).text(t)
	for range 2 { // the second time there is nothing to do
		if s, _ := e.order(t, "/admin/model/offload", "", 200); s.Phase != api.PhaseOffloaded || s.WeightBytes != 0 || s.Warning != "" {
			t.Errorf("%+v", s)
		}
	}
	for _, r := range []reply{e.post(completionPath, body), e.call(http.MethodGet, "/v1/models", ""), e.call(http.MethodGet, agentsPath, ""), e.post("/admin/cache/flush", "")} {
		if r.status != 503 || r.error(t).Error.Code != "model_offloaded" || r.header.Get("Retry-After") == "" || r.header.Get(api.HeaderFinish) != "shed" {
			t.Errorf("%d %s %v", r.status, r.body, r.header)
		}
	}
	if s := e.State(); s.Phase != api.PhaseOffloaded || s.PoolUtilization != 0 {
		t.Errorf("%+v", s)
	}
	e.order(t, "/admin/model/load", "", 200)
	e.order(t, "/admin/model/load", "", 200)
	r := e.post(completionPath, body, as("acme", "a")...)
	if r.text(t) != want || r.number(t, api.HeaderCachedTokens) == 0 {
		t.Errorf("%q with %s tokens cached, want %q", r.text(t), r.outcome(api.HeaderCachedTokens), want)
	}
	hidden := cfg.Model + ".hidden"
	e.order(t, "/admin/model/offload", "", 200)
	if err := os.Rename(cfg.Model, hidden); err != nil {
		t.Fatal(err)
	}
	if _, fault := e.order(t, "/admin/model/load", "", 422); !strings.Contains(fault.Error.Message, "stays offloaded") || e.State().Phase != api.PhaseOffloaded {
		t.Errorf("%+v, %+v", fault, e.State())
	}
	e.order(t, "/admin/model/swap", `{"model":"`+hidden+`"}`, 200) // a swap brings a model too
	if got := e.post(completionPath, body).text(t); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSwapsLeakNothing(t *testing.T) {
	cfg, other := swapConfig(t)
	e := startEngine(t, cfg)
	swap := func(n int) {
		for range n {
			e.order(t, "/admin/model/swap", `{"model":"`+other+`"}`, 200)
			e.post(completionPath, ask("hello", 4), as("acme", "a")...).text(t)
			e.order(t, "/admin/model/offload", "", 200)
			e.order(t, "/admin/model/swap", `{"model":"`+cfg.Model+`"}`, 200)
		}
		e.client.CloseIdleConnections()
		e.until("the connections are closed", func() bool { return e.connections.count() == 0 })
	}
	swap(1)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	swap(6)
	e.until("nothing is left of the models before", func() bool { return openFiles(t) <= files && runtime.NumGoroutine() <= goroutines })
}

func TestStopWhileAModelIsSwappedIsClean(t *testing.T) {
	cfg, other := swapConfig(t)
	cfg.SwapPatience = time.Hour
	e := newTestEngine(t, cfg)
	gate := e.hold()
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	e.waitReady()
	var wg sync.WaitGroup
	wg.Go(func() {
		if r, err := e.do(e.request(t.Context(), http.MethodPost, completionPath, ask("held", 500))); err == nil && r.outcome(api.HeaderFinish) != "drained" {
			t.Errorf("the answer that was held: %d %s", r.status, r.outcome(api.HeaderFinish))
		}
	})
	e.until("a step is held", func() bool { return gate.begun() == 1 })
	wg.Go(func() {
		_, _ = e.do(e.request(t.Context(), http.MethodPost, "/admin/model/swap", `{"model":"`+other+`"}`))
	})
	e.until("the new model is there", func() bool { return e.State().Model == "another" })
	wg.Go(func() {
		e.until("the engine stops", func() bool { return e.State().Phase == api.PhaseStopping })
		gate.open()
	})
	e.stopNow()
	wg.Wait()
}

func TestFlushForgetsEveryAgentAndEveryPrefix(t *testing.T) {
	cfg := agentConfig(t)
	cfg.KVMemory = config.Size(60 * int(blockSizeOf(t, cfg)))
	e := startEngine(t, cfg)
	bodies := map[string]string{}
	for _, id := range []string{"a", "b", "c", "d"} { // more than memory holds
		bodies[id] = ask(strings.Repeat(id, 250), 20)
		e.post(completionPath, bodies[id], as("acme", id)...).text(t)
	}
	e.until("an agent is on disk", func() bool {
		return strings.Contains(e.call(http.MethodGet, agentsPath, "", as("acme", "")[:2]...).body, `"warm"`)
	})
	var done flushed
	if r := e.post("/admin/cache/flush", ""); r.status != 200 || json.Unmarshal([]byte(r.body), &done) != nil || done.Agents == 0 || done.Blocks == 0 || done.Files == 0 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := e.call(http.MethodGet, agentsPath, "", as("acme", "")[:2]...); strings.Contains(r.body, `"id"`) {
		t.Errorf("there are agents yet: %s", r.body)
	}
	for id, body := range bodies {
		if r := e.post(completionPath, body, as("acme", id)...); r.number(t, api.HeaderCachedTokens) != 0 {
			t.Errorf("agent %s: %s tokens were cached", id, r.outcome(api.HeaderCachedTokens))
		}
	}
}
