package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// agentConfig is a small engine with a disk.
func agentConfig(t testing.TB) Config {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 1024})
	cfg.CacheDir = filepath.Join(t.TempDir(), "agents")
	return cfg
}

// as returns the headers of a tenant's agent.
func as(tenant, agent string) []string {
	return []string{api.HeaderTenant, tenant, api.HeaderAgent, agent}
}

// listed returns a tenant's agents by id.
func (e *testEngine) listed(tenant string) map[string]agentInfo {
	e.t.Helper()
	r := e.call(http.MethodGet, "/v1/agents", "", api.HeaderTenant, tenant)
	var list struct{ Data []agentInfo }
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != 200 {
		e.t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	byID := map[string]agentInfo{}
	for _, a := range list.Data {
		byID[a.ID] = a
	}
	return byID
}

// stop stops the engine within a deadline, its client gone.
func (e *testEngine) stopNow() {
	e.t.Helper()
	e.client.CloseIdleConnections()
	if err := e.Stop(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
}

// startOnce starts an engine that the test stops itself.
func startOnce(t testing.TB, cfg Config) *testEngine {
	t.Helper()
	e := newTestEngine(t, cfg)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	e.waitReady()
	return e
}

func TestAgentsAreMadeListedShownAndDeleted(t *testing.T) {
	e := startEngine(t, agentConfig(t))
	if r := e.post("/v1/agents", `{"id":"a/1"}`, api.HeaderTenant, "acme"); r.status != 201 || r.header.Get("Location") != "/v1/agents/a%2F1" || !strings.Contains(r.body, `"id":"a/1"`) {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := e.post("/v1/agents", `{"id":"a/1"}`, api.HeaderTenant, "acme"); r.status != 409 || r.error(t).Error.Code != "agent_exists" {
		t.Errorf("made twice: %d %s", r.status, r.body)
	}
	if r := e.post("/v1/agents", `{}`, api.HeaderTenant, "other"); r.status != 201 || !strings.Contains(r.body, `"id":"agent-`) {
		t.Errorf("without a name: %d %s", r.status, r.body)
	}
	for _, body := range []string{`{"id":""}`, `{"id":7}`, `{"name":"x"}`, `[]`, `{"id":"a\u0007"}`} {
		if r := e.post("/v1/agents", body); r.status != 400 {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	generate := e.post("/v1/agents/a%2F1/generate", `{"messages":[{"role":"user","content":"hello agent, how are you?"}],"max_tokens":20,"temperature":0}`, api.HeaderTenant, "acme")
	if generate.status != 200 || !strings.Contains(generate.body, `"chat.completion"`) {
		t.Errorf("%d %s", generate.status, generate.body)
	}
	plain := e.post("/v1/agents/a%2F1/generate", `{"prompt":"hello agent, how are you today?","max_tokens":20,"temperature":0}`, api.HeaderTenant, "acme")
	if plain.status != 200 || !strings.Contains(plain.body, `"text_completion"`) {
		t.Errorf("%d %s", plain.status, plain.body)
	}
	a := e.listed("acme")["a/1"]
	if a.Tier != "hot" || a.Tokens != 32 || a.Bytes == 0 || a.Created == 0 || a.LastUsed < a.Created {
		t.Errorf("listed as %+v", a)
	}
	var shown agentInfo
	r := e.call(http.MethodGet, "/v1/agents/a%2F1", "", api.HeaderTenant, "acme")
	if err := json.Unmarshal([]byte(r.body), &shown); err != nil || shown != a {
		t.Errorf("shown as %s, listed as %+v", r.body, a)
	}
	if r := e.call(http.MethodPut, "/v1/agents/a%2F1", ""); r.status != 405 || r.header.Get("Allow") != "DELETE, GET" {
		t.Errorf("PUT: %d %v", r.status, r.header)
	}
	if r := e.call(http.MethodDelete, "/v1/agents/a%2F1", "", api.HeaderTenant, "acme"); r.status != 200 || !strings.Contains(r.body, `"deleted":true`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := e.call(http.MethodDelete, "/v1/agents/a%2F1", "", api.HeaderTenant, "acme"); r.status != 404 {
		t.Errorf("deleted twice: %d", r.status)
	}
	again := e.post(completionPath, `{"model":"default","prompt":"hello agent, how are you today?","max_tokens":20,"temperature":0}`, api.HeaderTenant, "acme")
	if again.number(t, api.HeaderCachedTokens) != 0 {
		t.Error("a deleted agent's blocks are still found")
	}
	for _, line := range e.logLines("request") {
		if path := line["path"].(string); strings.Contains(path, "%2F") {
			t.Errorf("the log's path is no template: %s", path)
		}
	}
}

func TestAnAgentIsItsTenantsOwn(t *testing.T) {
	cfg := agentConfig(t)
	e := startOnce(t, cfg)
	body := ask(strings.Repeat("mine ", 20), 8)
	e.post(completionPath, body, as("acme", "a")...)
	strangers := func(e *testEngine) {
		t.Helper()
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/v1/agents/a", ""}, {"DELETE", "/v1/agents/a", ""}, {"POST", "/v1/agents/a/generate", `{"prompt":"x"}`},
		} {
			if r := e.call(c.method, c.path, c.body, api.HeaderTenant, "rival"); r.status != 404 || r.error(t).Error.Code != "agent_not_found" {
				t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
			}
		}
		if list := e.listed("rival"); len(list) != 0 {
			t.Errorf("the other tenant sees %v", list)
		}
		if r := e.post(completionPath, body, as("rival", "a")...); r.number(t, api.HeaderCachedTokens) != 0 {
			t.Error("the other tenant's agent of the same name found cached tokens")
		}
		e.call(http.MethodDelete, "/v1/agents/a", "", api.HeaderTenant, "rival")
	}
	strangers(e)
	if e.listed("acme")["a"].Tokens < 80 {
		t.Errorf("the agent is %+v", e.listed("acme")["a"])
	}
	e.stopNow()
	second := startEngine(t, freshSocket(t, cfg)) // where it is on disk
	if second.listed("acme")["a"].Tier != "warm" {
		t.Errorf("after the restart: %+v", second.listed("acme"))
	}
	strangers(second)
}

func TestAgentComesBackAfterARestart(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		cfg := agentConfig(t)
		if encrypted {
			cfg.CacheKeyFile = filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(cfg.CacheKeyFile, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		bodies := turns(3, `,"temperature":0.8,"seed":3`)
		lone := startEngine(t, freshSocket(t, testWithout(cfg)))
		e := startOnce(t, cfg)
		for turn, body := range bodies {
			lone.flush()
			want := lone.post(chatPath, body).text(t)
			r := e.post(chatPath, body, as("acme", "a")...)
			if r.text(t) != want {
				t.Errorf("encrypted %t, turn %d: %q, alone %q", encrypted, turn, r.text(t), want)
			}
			if cached := r.number(t, api.HeaderCachedTokens); turn > 0 && (cached < 48 || e.metric(`semantic_cache_hit_total{tier="warm"}`) != 1 || e.metric("semantic_agent_restore_seconds_count") != 1) {
				t.Errorf("turn %d: %g tokens were cached", turn, cached)
			}
			hot := e.listed("acme")["a"]
			e.stopNow()
			lines := e.logLines("agents persisted")
			if len(lines) != 1 || lines[0]["dirty"] != 1.0 || lines[0]["persisted"] != 1.0 || lines[0]["left"] != 0.0 {
				t.Errorf("turn %d: %v", turn, lines)
			}
			e = startOnce(t, freshSocket(t, cfg))
			if warm := e.listed("acme")["a"]; warm.Tier != "warm" || warm.Tokens != hot.Tokens || warm.Created != hot.Created {
				t.Errorf("turn %d: hot %+v, after the restart %+v", turn, hot, warm)
			}
		}
		if r := e.call(http.MethodDelete, "/v1/agents/a", "", api.HeaderTenant, "acme"); r.status != 200 || len(e.listed("acme")) != 0 {
			t.Errorf("%d %s", r.status, r.body)
		}
		e.stopNow()
		e = startEngine(t, freshSocket(t, cfg))
		if len(e.listed("acme")) != 0 {
			t.Error("a deleted agent came back")
		}
	}
}

// testWithout returns the configuration without a disk.
func testWithout(cfg Config) Config {
	cfg.CacheDir, cfg.CacheKeyFile = "", ""
	return cfg
}

func TestDamagedFileIsQuarantinedAndTheAnswerStaysRight(t *testing.T) {
	cfg := agentConfig(t)
	e := startOnce(t, cfg)
	body := ask(strings.Repeat("words ", 30), 12)
	want := e.post(completionPath, body, as("acme", "a")...).text(t)
	e.stopNow()
	files, err := filepath.Glob(filepath.Join(cfg.CacheDir, "*", "*", "*.kv"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	second := startEngine(t, freshSocket(t, cfg))
	r := second.post(completionPath, body, as("acme", "a")...)
	if r.text(t) != want || r.number(t, api.HeaderCachedTokens) != 0 {
		t.Errorf("%q with %s tokens cached, want %q", r.text(t), r.outcome(api.HeaderCachedTokens), want)
	}
	if second.metric(`semantic_cache_quarantined_total{reason="checksum"}`) != 1 || second.metric("semantic_cache_miss_total") != 1 {
		t.Error("it was not counted")
	}
}

func TestAgentsLeaveForTheDiskWhenMemoryIsShort(t *testing.T) {
	cfg := agentConfig(t)
	cfg.KVMemory = config.Size(60 * int(blockSizeOf(t, cfg)))
	e := startEngine(t, cfg)
	lone := startEngine(t, freshSocket(t, testWithout(cfg)))
	const n = 12
	body := func(i, turn int) string {
		return ask(strings.Repeat(string(rune('a'+i)), 150)+strings.Repeat("?", 20*turn), 10)
	}
	for turn := range 2 {
		for i := range n {
			r := e.post(completionPath, body(i, turn), as("acme", fmt.Sprint("agent", i))...)
			lone.flush()
			if want := lone.post(completionPath, body(i, turn)).text(t); r.text(t) != want {
				t.Errorf("turn %d of agent %d: %q, alone %q", turn, i, r.text(t), want)
			}
			if cached := r.number(t, api.HeaderCachedTokens); turn > 0 && cached < 144 {
				t.Errorf("turn %d of agent %d: %g tokens were cached", turn, i, cached)
			}
		}
	}
	tiers := map[string]int{}
	for _, a := range e.listed("acme") {
		tiers[a.Tier]++
	}
	if tiers["hot"] == 0 || tiers["warm"] == 0 || tiers["hot"]+tiers["warm"] != n {
		t.Errorf("tiers: %v", tiers)
	}
	if e.used() != 0 || e.metric(`semantic_eviction_total{tier="hot"}`) < 8 || e.metric(`semantic_cache_hit_total{tier="warm"}`) < 8 || int(e.metric("semantic_agents_active")) != tiers["hot"] {
		t.Errorf("%d used, %g evicted, %g restored", e.used(), e.metric(`semantic_eviction_total{tier="hot"}`), e.metric(`semantic_cache_hit_total{tier="warm"}`))
	}
}

func TestTurnsThatMeetBothRunAndSaySo(t *testing.T) {
	e := newTestEngine(t, agentConfig(t))
	g := e.hold()
	e.start()
	e.waitReady()
	first := e.async(t.Context(), ask(strings.Repeat("a", 40), 30), as("acme", "a")...)
	e.until("the first runs", func() bool { return g.begun() == 1 })
	second := e.async(t.Context(), ask(strings.Repeat("b", 40), 2), as("acme", "a")...)
	e.until("both are in", func() bool { s := e.State(); return s.Running+s.Queued == 2 })
	g.open()
	for _, answer := range []<-chan reply{first, second} {
		if r := <-answer; r.status != 200 || r.header.Get(api.HeaderAgentConflict) == "" {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
	if a := e.listed("acme")["a"]; a.Tokens != 64 { // the first ended last: 40 and 29 of 30
		t.Errorf("kept is %+v", a)
	}
	if r := e.post(completionPath, ask(strings.Repeat("a", 40), 2), as("acme", "a")...); r.header.Get(api.HeaderAgentConflict) != "" {
		t.Error("a lone turn is told of a conflict")
	}
}

func TestDivergingHistoryKeepsTheCommonPrefix(t *testing.T) {
	e := startEngine(t, agentConfig(t))
	e.post(completionPath, ask(strings.Repeat("a", 100), 4), as("acme", "a")...)
	r := e.post(completionPath, ask(strings.Repeat("a", 70)+strings.Repeat("b", 70), 4), as("acme", "a")...)
	if cached := r.number(t, api.HeaderCachedTokens); cached != 64 {
		t.Errorf("%g tokens were cached of 70 that are common", cached)
	}
	if a := e.listed("acme")["a"]; a.Tokens != 128 {
		t.Errorf("it holds %+v", a)
	}
}

func TestUnusedAgentExpiresInMemory(t *testing.T) {
	cfg := agentConfig(t)
	cfg.CacheTTL = 150 * time.Millisecond
	e := startEngine(t, cfg)
	e.post(completionPath, ask(strings.Repeat("a", 40), 4), as("acme", "a")...)
	if len(e.listed("acme")) != 1 {
		t.Fatal("it is not there")
	}
	time.Sleep(200 * time.Millisecond)
	if list := e.listed("acme"); len(list) != 0 {
		t.Errorf("after its time: %v", list)
	}
}

func TestAgentDeletedWhileItsTurnRunsStaysDeleted(t *testing.T) {
	e := newTestEngine(t, agentConfig(t))
	g := e.hold()
	e.start()
	e.waitReady()
	answer := e.async(t.Context(), ask(strings.Repeat("a", 40), 10), as("acme", "a")...)
	e.until("it runs", func() bool { return g.begun() == 1 })
	deleted := make(chan reply, 1)
	go func() { deleted <- e.call(http.MethodDelete, "/v1/agents/a", "", api.HeaderTenant, "acme") }()
	s := e.current().(*native).scheduler
	e.until("the deletion is with the loop", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.mail) > 0
	})
	g.step(1)
	<-deleted
	g.open()
	if r := <-answer; r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if list := e.listed("acme"); len(list) != 0 {
		t.Errorf("it came back: %v", list)
	}
}
