package proxy

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// probes asks all health routes.
func (h *harness) probes() map[string]reply {
	h.t.Helper()
	all := map[string]reply{}
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/health/startup"} {
		all[path] = h.ask(get(path))
	}
	return all
}

func (h *harness) wantProbe(path string, status int, body string) {
	h.t.Helper()
	if got := h.ask(get(path)); got.status != status || got.body != body {
		h.t.Errorf("%s answers %d %s, not %d %s", path, got.status, got.body, status, body)
	}
}

func TestProbesFollowTheEngine(t *testing.T) {
	e := startStandin(t, ok)
	e.state.Store(&api.EngineState{Boot: "a", Phase: api.PhaseLoading})
	h := startUnready(t, e)
	h.waitReady(reasonLoading)
	h.wantProbe("/health/live", 200, `{"status":"alive"}`)
	h.wantProbe("/health/startup", 503, `{"status":"starting","reason":"model_loading"}`)
	h.wantProbe("/health/ready", 503, `{"status":"not_ready","reason":"model_loading","pool_utilization":0.0}`)

	e.state.Store(&api.EngineState{Boot: "a", Phase: api.PhaseReady, PoolUtilization: 12.34})
	h.waitReady("")
	h.wantProbe("/health/startup", 200, `{"status":"started"}`)
	h.wantProbe("/health/ready", 200, `{"status":"ready","pool_utilization":12.3}`)
	h.wantProbe("/health", 200, `{"status":"ready","pool_utilization":12.3}`)

	e.state.Store(&api.EngineState{Boot: "a", Phase: api.PhaseOffloaded})
	h.waitReady(reasonOffloaded)
	h.wantProbe("/health/startup", 200, `{"status":"started"}`)
	h.wantProbe("/health/ready", 503, `{"status":"not_ready","reason":"model_offloaded","pool_utilization":0.0}`)

	e.state.Store(&api.EngineState{Boot: "a", Phase: api.PhaseReady, Queued: 3, LastStepAgeMS: 10_000})
	h.waitReady(reasonStalled)
	h.wantProbe("/health/ready", 503, `{"status":"not_ready","reason":"engine_stalled","pool_utilization":0.0}`)

	e.state.Store(&api.EngineState{Boot: "a", Phase: api.PhaseStopping})
	h.waitReady(reasonShuttingDown)
}

func TestProbesWithoutAnEngine(t *testing.T) {
	e := startStandin(t, ok)
	e.kill()
	h := startUnready(t, e)
	h.wantProbe("/health/live", 200, `{"status":"alive"}`)
	h.wantProbe("/health/startup", 503, `{"status":"starting","reason":"engine_unreachable"}`)
	h.wantProbe("/health/ready", 503, `{"status":"not_ready","reason":"engine_unreachable","pool_utilization":0.0}`)
	text := h.ask(get("/metrics")).body
	if valueOf(text, "semantic_engine_up") != 0 || valueOf(text, `semantic_finish_total{class="ok"}`) != 0 {
		t.Error("the proxy's own metrics do not come without an engine")
	}
	e.listen() // it comes late
	h.waitReady("")
}

func TestRequestsAreRefusedPolitelyWhileTheEngineCannotTakeThem(t *testing.T) {
	e := startStandin(t, ok)
	h := startUnready(t, e)
	for _, c := range []struct {
		state  *api.EngineState
		reason reason
	}{
		{&api.EngineState{Boot: "a", Phase: api.PhaseLoading}, reasonLoading},
		{&api.EngineState{Boot: "a", Phase: api.PhaseOffloaded}, reasonOffloaded},
		{&api.EngineState{Boot: "a", Phase: api.PhaseCutOff}, reasonCutOff},
	} {
		e.state.Store(c.state)
		h.waitReady(c.reason)
		got := h.ask(post(`{}`))
		if got.status != 503 || !strings.Contains(got.body, string(c.reason)) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", c.reason, got)
		}
	}
	e.kill()
	h.waitReady(reasonUnreachable)
	start := time.Now()
	got := h.ask(post(`{}`))
	if got.status != 503 || !strings.Contains(got.body, "engine_unreachable") || got.header.Get("Retry-After") != "1" || time.Since(start) > time.Second {
		t.Errorf("engine away: %+v after %s", got, time.Since(start))
	}
	for _, line := range h.waitLines(4) {
		if line["finish"] != "shed" {
			t.Errorf("log: %v", line)
		}
	}
	if len(e.requests()) != 0 {
		t.Error("a refused request reached the engine")
	}
}

// The sequence of a SIGKILL in mid-stream, without the process.
func TestEngineKilledAndRestarted(t *testing.T) {
	h := start(t, func(k *call) {
		if string(k.body) != streamIt {
			ok(k)
			return
		}
		k.startStream()
		k.chunk(hello)
		k.in.ReadByte() // until it is killed
	})
	c := h.dial()
	c.send(post(streamIt))
	h.eventually("a running stream", func() bool { return len(h.engine.requests()) == 1 })
	time.Sleep(20 * time.Millisecond)
	killed := time.Now()
	h.engine.kill()
	if got := c.read(); !strings.HasPrefix(got.body, hello+`data: {"error"`) || strings.Contains(got.body, "[DONE]") {
		t.Errorf("stream %q", got.body)
	}
	h.waitReady(reasonUnreachable)
	if took := time.Since(killed); took > time.Second {
		t.Errorf("readiness turned %s after the engine was killed", took)
	}
	if got := h.ask(post(`{}`)); got.status != 503 {
		t.Errorf("without an engine: %+v", got)
	}
	h.engine.state.Store(&api.EngineState{Boot: "boot-2", Phase: api.PhaseReady})
	h.engine.listen()
	h.waitReady("")
	if got := h.ask(post(`{}`)); got.status != 200 {
		t.Errorf("after the restart: %+v", got)
	}
	text := h.ask(get("/metrics")).body
	for series, want := range map[string]float64{"semantic_engine_restarts_total": 1, "semantic_engine_up": 1,
		`semantic_finish_total{class="engine_died"}`: 1, `semantic_finish_total{class="shed"}`: 1, `semantic_finish_total{class="stop"}`: 1} {
		if got := valueOf(text, series); got != want {
			t.Errorf("%s is %v, not %v", series, got, want)
		}
	}
}

// A request that finds the socket dead turns readiness without waiting for the poll.
func TestForwardThatFindsTheSocketDeadTurnsReadiness(t *testing.T) {
	h := start(t, ok)
	h.engine.kill()
	if got := h.ask(post(`{}`)); got.status != 503 || !strings.Contains(got.body, "engine_unreachable") {
		t.Fatalf("answer %+v", got)
	}
	if why := h.health.current().reason; why != reasonUnreachable {
		t.Errorf("readiness is %q", why)
	}
}

// An engine that takes connections and answers nothing, as a paused process does.
func TestPausedEngineTurnsReadinessAndHoldsUpNoProbe(t *testing.T) {
	h := start(t, ok)
	paused := time.Now()
	h.engine.deaf.Store(true)
	for h.health.current().reason != reasonUnreachable {
		start := time.Now()
		h.ask(get("/health/ready"))
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Fatalf("a probe took %s", took)
		}
		if time.Since(paused) > patience {
			t.Fatal("readiness never turned")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(paused); took > 2*time.Second {
		t.Errorf("readiness turned after %s", took)
	}
	start := time.Now()
	if got := h.ask(get("/metrics")); got.status != 200 || time.Since(start) > time.Second {
		t.Errorf("a scrape took %s", time.Since(start))
	}
}

func TestPressureHasHysteresis(t *testing.T) {
	h := newHealth(true, time.Minute)
	now := time.Unix(1000, 0)
	step := func(after time.Duration, utilization float64, want reason) {
		t.Helper()
		now = now.Add(after)
		h.seen(api.EngineState{Phase: api.PhaseReady, PoolUtilization: utilization}, now)
		if got := h.current().reason; got != want {
			t.Fatalf("at %s, %.0f %%: %q, not %q", now.Sub(time.Unix(1000, 0)), utilization, got, want)
		}
	}
	step(0, 95, "")
	step(4900*time.Millisecond, 95, "")
	step(50*time.Millisecond, 90, "") // not above 90: the time starts anew
	step(50*time.Millisecond, 91, "")
	step(4999*time.Millisecond, 91, "")
	step(time.Millisecond, 91, reasonPressure)
	step(time.Second, 85, reasonPressure)
	step(time.Minute, 80, reasonPressure)
	step(time.Millisecond, 79.9, "")
	step(time.Second, 89, "")
	step(time.Second, 100, "")
	step(5*time.Second, 100, reasonPressure)
	if body := string(h.current().ready.body); body != `{"status":"not_ready","reason":"pool_near_exhaustion","pool_utilization":100.0}` {
		t.Error(body)
	}
	if h.refusal() != nil {
		t.Error("pressure refuses requests, which is the engine's to do")
	}

	off := newHealth(false, time.Minute)
	off.seen(api.EngineState{Phase: api.PhaseReady, PoolUtilization: 99}, now)
	off.seen(api.EngineState{Phase: api.PhaseReady, PoolUtilization: 99}, now.Add(time.Minute))
	if off.current().reason != "" {
		t.Error("--ready-on-pressure=false turns readiness all the same")
	}
}

func TestStallIsToldFromIdleness(t *testing.T) {
	h := newHealth(true, 10*time.Second)
	for _, c := range []struct {
		queued, running int
		age             int64
		want            reason
	}{{0, 0, 60_000, ""}, {1, 0, 9_999, ""}, {1, 0, 10_000, reasonStalled}, {0, 1, 10_000, reasonStalled}, {5, 5, 0, ""}} {
		h.seen(api.EngineState{Phase: api.PhaseReady, Queued: c.queued, Running: c.running, LastStepAgeMS: c.age}, time.Now())
		if got := h.current().reason; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestReasonsGoBeforeEachOtherInOrder(t *testing.T) {
	h := newHealth(true, time.Second)
	now := time.Now()
	worst := api.EngineState{Phase: api.PhaseReady, PoolUtilization: 99, Queued: 1, LastStepAgeMS: 5000}
	h.seen(worst, now)
	h.seen(worst, now.Add(time.Minute))
	steps := []struct {
		change func()
		want   reason
	}{
		{func() {}, reasonPressure},
		{func() { worst.Phase = api.PhaseOffloaded; h.seen(worst, now) }, reasonOffloaded},
		{func() { worst.Phase = api.PhaseLoading; h.seen(worst, now) }, reasonLoading},
		{h.lost, reasonUnreachable},
		{h.drain, reasonShuttingDown},
	}
	for _, s := range steps {
		s.change()
		if got := h.current().reason; got != s.want {
			t.Errorf("%q, not %q", got, s.want)
		}
	}
}

func TestProbesAreNeitherCountedNorLogged(t *testing.T) {
	h := start(t, ok)
	h.probes()
	h.ask(get("/metrics"))
	h.ask(postTo("/health/live", "{}")) // not even a wrong one
	h.ask(post(`{}`))
	if line := h.waitLines(1)[0]; line["path"] != "/v1/chat/completions" {
		t.Errorf("log: %v", line)
	}
	text := h.ask(get("/metrics")).body
	if sumOf(text, "semantic_request_total") != 1 || strings.Contains(text, `path="/health`) || strings.Contains(text, `path="/metrics`) {
		t.Error("a probe was counted")
	}
}

func TestScrapeMergesTheEngine(t *testing.T) {
	h := start(t, ok)
	text := "# HELP semantic_build_info Always 1; the labels say which build this process runs.\n# TYPE semantic_build_info gauge\n" +
		"semantic_build_info{process=\"engine\"} 1\n# HELP semantic_batch_size Sequences in a step.\n# TYPE semantic_batch_size gauge\nsemantic_batch_size 3\n"
	h.engine.text.Store(&text)
	got := h.ask(get("/metrics"))
	if strings.Count(got.body, "# TYPE semantic_build_info ") != 1 || valueOf(got.body, "semantic_batch_size") != 3 ||
		!strings.Contains(got.body, `semantic_build_info{process="engine"} 1`) || !strings.Contains(got.body, `semantic_build_info{process="proxy"`) {
		t.Error("the families are not merged")
	}
	if ct := got.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		t.Errorf("Content-Type %q", ct)
	}
	garbage := "}}} no exposition {{{\n"
	h.engine.text.Store(&garbage)
	if got := h.metric("semantic_engine_up"); got != 1 {
		t.Errorf("an engine's garbled part took the proxy's own with it: %v", got)
	}
}

func TestMetricsHaveTheirOwnAddress(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.MetricsListen = "127.0.0.1:0" })
	if got := h.ask(get("/metrics")); got.status != 404 {
		t.Errorf("/metrics on the main address: %d", got.status)
	}
	main := h.addr
	h.addr = h.scrapes.Addr().String()
	if h.metric("semantic_engine_up") != 1 {
		t.Error("no /metrics on its own address")
	}
	for _, request := range []string{post(`{}`), get("/health/live")} {
		if got := h.ask(request); got.status != 404 {
			t.Errorf("%.20s on the metrics address: %d", request, got.status)
		}
	}
	h.addr = main
}

// The sums that an operator relies on: each request in one class, none lost.
func TestCountsAddUp(t *testing.T) {
	h := start(t, func(k *call) {
		switch body := string(k.body); {
		case strings.HasPrefix(body, "stream"):
			k.startStream()
			k.chunk(hello)
			if body == "stream die" {
				k.die()
				return
			}
			k.chunk(done)
			k.endStream(goodEnd)
		case body == "die":
			k.die()
		case body == "wait":
			k.waitClosed()
		default:
			ok(k)
		}
	}, func(c *Config) { c.MaxInFlight = 1024 })
	bodies := []string{"json", "stream", "stream die", "die", "wait", "none"}
	var wg sync.WaitGroup
	const each = 25
	for _, body := range bodies {
		for range each {
			wg.Go(func() {
				c, err := net.Dial("tcp", h.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				switch body {
				case "wait":
					fmt.Fprint(c, post(body))
					time.Sleep(30 * time.Millisecond)
				case "none":
					fmt.Fprint(c, "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				default:
					fmt.Fprint(c, post(body, "Connection: close"))
				}
				if body != "wait" {
					c.SetDeadline(time.Now().Add(patience))
					for buf := make([]byte, 4096); ; {
						if _, err := c.Read(buf); err != nil {
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	h.waitLines(each * len(bodies))
	h.eventually("nothing in flight", func() bool { return h.meters.inFlight.Load() == 0 && h.slots.taken.Load() == 0 })
	text := h.ask(get("/metrics")).body
	if sum := sumOf(text, "semantic_finish_total"); sum != float64(each*len(bodies)) {
		t.Errorf("the classes add up to %v", sum)
	}
	if sum := sumOf(text, "semantic_request_total"); sum != float64(each*len(bodies)) {
		t.Errorf("the requests add up to %v", sum)
	}
	for class, want := range map[string]float64{"stop": 2 * each, "engine_died": 2 * each, "client_gone": each, "rejected": each} {
		if got := valueOf(text, `semantic_finish_total{class="`+class+`"}`); got != want {
			t.Errorf("class %s: %v, not %v", class, got, want)
		}
	}
}

func TestSocketAnswersThePod(t *testing.T) {
	path := shortDir(t) + "/proxy.sock"
	h := start(t, ok, func(c *Config) { c.Socket = path })
	pool := newPool(path, 1)
	for route, want := range map[string]string{
		api.PathState:   `"ready":true`,
		api.PathMetrics: "semantic_engine_up 1",
		api.PathBuild:   `"executable_sha256":"`,
		api.PathKeys:    `"required":false`,
	} {
		up, err := pool.dial()
		if err != nil {
			t.Fatal(err)
		}
		page, err := up.get(route, time.Now().Add(patience), 1<<20)
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("%s: %v\n%.300s", route, err, page)
		}
		up.conn.Close()
	}
	h.close()
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket outlives the proxy")
	}
}
