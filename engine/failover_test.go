package engine

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// TestARequestGoesToAnotherUpstreamUntilOneBeginsToAnswer has one upstream of two do
// what keeps it from beginning.
func TestARequestGoesToAnotherUpstreamUntilOneBeginsToAnswer(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	}
	for name, c := range map[string]struct {
		serve   func(http.ResponseWriter, *http.Request, map[string]any)
		outcome string
	}{
		"429":              {answers(429, `{"error":{"message":"slow down"}}`, "Retry-After", "7"), "busy"},
		"503":              {answers(503, `no room`), "busy"},
		"500":              {answers(500, `{"detail":"boom"}`), "failed"},
		"502":              {answers(502, ``), "failed"},
		"401":              {answers(401, `{"error":"bad key"}`), "failed"},
		"404":              {answers(404, `{"object":"error","message":"no such model"}`), "failed"},
		"a redirection":    {answers(302, ``, "Location", "http://127.0.0.1:1/"), "failed"},
		"no stream":        {answers(200, `{"choices":[]}`, "Content-Type", "application/json"), "failed"},
		"an empty stream":  {sends(), "failed"},
		"garbage":          {sends("<html>"), "failed"},
		"an error event":   {sends(`{"error":{"message":"no memory","code":503}}`), "busy"},
		"a cut connection": {cut, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := startFaulty(t, "vllm", c.serve), startFaulty(t, "vllm", sound)
			e := startRemote(t, remoteConfig(t, bad.URL, good.URL))
			for range 8 { // until the bad one was chosen first
				if r := e.post(chatPath, streamed(greeting)); r.text(t) != "one two" || r.outcome(api.HeaderFinish) != "stop" {
					t.Fatalf("%s %v", r.body, r.trailer)
				}
			}
			if bad.calls.Load() == 0 {
				for range 100 {
					e.post(chatPath, streamed(greeting))
				}
			}
			if n := e.value(fmt.Sprintf("semantic_upstream_requests_total{upstream=%q,outcome=%q}", bad.URL, c.outcome)); n == "0" || n == "" {
				t.Errorf("%q requests were counted as %s", n, c.outcome)
			}
			if n := e.value("semantic_upstream_failovers_total"); n == "0" {
				t.Error("no failover was counted")
			}
		})
	}
}

// TestWhatEveryUpstreamRefuses holds what the client is told when no upstream serves.
func TestWhatEveryUpstreamRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		serve            func(http.ResponseWriter, *http.Request, map[string]any)
		status           int
		code, finish     string
		retryAfter, says string
	}{
		"busy":       {answers(429, `{"error":{"message":"x"}}`, "Retry-After", "7"), 503, "upstream_busy", "shed", "7", "no room"},
		"bad":        {answers(400, `{"error":{"message":"max_tokens is too large","param":"max_tokens","code":400}}`), 400, "invalid_value", "rejected", "", "--default-max-tokens"},
		"unreadable": {answers(422, `{"detail":"field required"}`), 400, "invalid_value", "rejected", "", "field required"},
		"forbidden":  {answers(403, `{}`), 502, "upstream_misconfigured", "error", "", "operator"},
		"broken":     {answers(500, `Traceback: /secret/path`), 502, "engine_died", "engine_died", "", "status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startRemote(t, remoteConfig(t, urlsOf(startFaulty(t, "vllm", c.serve), startFaulty(t, "vllm", c.serve))...))
			r := e.post(chatPath, greeting)
			if r.status != c.status || r.error(t).Error.Code != c.code || r.outcome(api.HeaderFinish) != c.finish ||
				r.header.Get("Retry-After") != c.retryAfter || !strings.Contains(r.body, c.says) || strings.Contains(r.body, "secret") {
				t.Errorf("%d %s %v", r.status, r.body, r.header)
			}
		})
	}
}

// TestAnUpstreamWhoseRequestsFailGetsNone counts what an upstream that is well by its
// own account, and fails every request, is asked for.
func TestAnUpstreamWhoseRequestsFailGetsNone(t *testing.T) {
	bad, good := startFaulty(t, "vllm", answers(500, "")), startFaulty(t, "vllm", sound)
	e := startRemote(t, remoteConfig(t, bad.URL, good.URL))
	const requests = 60
	for range requests {
		if r := e.post(chatPath, greeting); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if n := bad.calls.Load(); n < 3 || n > 6 { // three, and perhaps some after the ejection on a slow machine
		t.Errorf("of %d requests %d went to the bad one", requests, n)
	}
	if n := e.value(fmt.Sprintf("semantic_upstream_ejections_total{upstream=%q}", bad.URL)); n == "0" || n == "" {
		t.Errorf("%q ejections", n)
	}
	good.health.Store(http.StatusInternalServerError)
	e.until("only the ejected one is up", func() bool { return e.remote().fleet.Load().Up == 1 })
	bad.serve = sound
	if r := e.post(chatPath, greeting); r.status != http.StatusOK {
		t.Errorf("an ejected upstream is better than none: %d %s", r.status, r.body)
	}
}

// TestRequestsGoWhereTheFewestRun holds requests in three upstreams.
func TestRequestsGoWhereTheFewestRun(t *testing.T) {
	release := make(chan struct{})
	held := func(w http.ResponseWriter, r *http.Request, a map[string]any) { <-release; sound(w, r, a) }
	ups := []*faulty{startFaulty(t, "vllm", held), startFaulty(t, "vllm", held), startFaulty(t, "vllm", held)}
	cfg := remoteConfig(t, urlsOf(ups...)...)
	e := startRemote(t, cfg)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() { e.post(chatPath, greeting) })
	}
	e.until("all are asked", func() bool { return ups[0].calls.Load()+ups[1].calls.Load()+ups[2].calls.Load() == 12 })
	for _, up := range ups {
		if n := up.calls.Load(); n != 4 {
			t.Errorf("%d of 12", n)
		}
		if n := e.value(fmt.Sprintf("semantic_upstream_in_flight{upstream=%q}", up.URL)); n != "4" {
			t.Errorf("%s in flight", n)
		}
	}
	close(release)
	wg.Wait()
}

// TestAnAgentStaysWithItsUpstream asks for many agents, several turns each, and then
// takes one of their upstreams away.
func TestAnAgentStaysWithItsUpstream(t *testing.T) {
	ups := []*faulty{startFaulty(t, "semantic", sound), startFaulty(t, "semantic", sound), startFaulty(t, "semantic", sound)}
	e := startRemote(t, remoteConfig(t, urlsOf(ups...)...))
	home := map[string]int{}
	where := func(agent string) int {
		before := []int64{ups[0].calls.Load(), ups[1].calls.Load(), ups[2].calls.Load()}
		if r := e.post(chatPath, greeting, as("acme", agent)...); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
		for i, up := range ups {
			if up.calls.Load() != before[i] {
				return i
			}
		}
		return -1
	}
	used := map[int]int{}
	for i := range 30 {
		agent := fmt.Sprint("agent", i)
		home[agent] = where(agent)
		used[home[agent]]++
		for range 2 {
			if at := where(agent); at != home[agent] {
				t.Errorf("%s moved from %d to %d", agent, home[agent], at)
			}
		}
	}
	if len(used) != 3 {
		t.Errorf("30 agents are at %v", used)
	}
	name := ups[home["agent0"]].seen[0].Header.Get("X-Agent-ID")
	if name == "" || strings.Contains(name, "agent") {
		t.Errorf("the upstream was told the agent's name %q", name)
	}
	ups[0].health.Store(http.StatusServiceUnavailable)
	e.until("one is out", func() bool { return e.remote().fleet.Load().Up == 2 })
	for agent, at := range home {
		if now := where(agent); at != 0 && now != at || now == 0 {
			t.Errorf("%s moved from %d to %d", agent, at, now)
		}
	}
}

// TestHealthIsTheUpstreams follows the engine's phase through an upstream's life.
func TestHealthIsTheUpstreams(t *testing.T) {
	up := startFaulty(t, "llamacpp", sound)
	up.health.Store(http.StatusServiceUnavailable)
	e := newTestEngine(t, remoteConfig(t, up.URL))
	e.start()
	e.until("the engine loads", func() bool { return e.current() != nil && e.State().Phase == api.PhaseLoading })
	if r := e.post(chatPath, greeting); r.status != 503 || r.error(t).Error.Code != "model_loading" || r.header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", r.status, r.body)
	}
	up.health.Store(http.StatusOK)
	up.expo.Store("llamacpp:kv_cache_usage_ratio 0.25\nllamacpp:requests_deferred 2\n")
	e.until("the engine is ready", func() bool {
		s := e.State()
		return s.Phase == api.PhaseReady && s.PoolUtilization == 25 && s.Queued == 2
	})
	if m := e.State().Model; m != "org/model" {
		t.Errorf("the model is %q", m)
	}
	up.health.Store(http.StatusInternalServerError)
	e.until("the engine is cut off", func() bool { return e.State().Phase == api.PhaseCutOff })
	if r := e.post(chatPath, greeting); r.status != 503 || r.error(t).Error.Code != "upstream_unreachable" || r.outcome(api.HeaderFinish) != "shed" {
		t.Errorf("%d %s", r.status, r.body)
	}
	up.health.Store(http.StatusOK)
	e.until("the engine is ready again", func() bool { return e.State().Phase == api.PhaseReady })
	if r := e.post(chatPath, strings.Replace(greeting, "default", "org/model", 1)); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestALostUpstreamsRequestsMove lets an upstream go down while a request waits for it
// to begin, without a word on the connection: as when its machine stops.
func TestALostUpstreamsRequestsMove(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request, _ map[string]any) { <-r.Context().Done() }
	up, other := startFaulty(t, "vllm", hang), startFaulty(t, "vllm", sound)
	other.health.Store(http.StatusInternalServerError)
	e := newTestEngine(t, remoteConfig(t, up.URL, other.URL))
	e.start()
	e.until("the first is up", func() bool { return e.current() != nil && e.remote().fleet.Load().Up == 1 })
	answer := make(chan reply, 1)
	go func() { answer <- e.post(chatPath, greeting) }()
	e.until("it is asked", func() bool { return up.calls.Load() == 1 })
	other.health.Store(http.StatusOK)
	e.until("both are up", func() bool { return e.remote().fleet.Load().Up == 2 })
	up.health.Store(http.StatusInternalServerError)
	select {
	case r := <-answer:
		if r.text(t) != "one two" {
			t.Errorf("%d %s", r.status, r.body)
		}
	case <-time.After(testWait):
		t.Fatal("the request still waits for the upstream that went down")
	}
}

// TestAConnectionThatWasClosedIdleCostsNoRequest has an upstream close each connection
// when a second request comes on it, as when it had been idle for too long.
func TestAConnectionThatWasClosedIdleCostsNoRequest(t *testing.T) {
	var used sync.Map
	up := startFaulty(t, "llamacpp", func(w http.ResponseWriter, r *http.Request, a map[string]any) {
		if _, again := used.LoadOrStore(r.RemoteAddr, true); !again {
			sound(w, r, a)
		} else if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	})
	e := startRemote(t, remoteConfig(t, up.URL))
	for range 10 {
		if r := e.post(chatPath, greeting); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if up.calls.Load() <= 10 {
		t.Error("no connection was used twice")
	}
}
