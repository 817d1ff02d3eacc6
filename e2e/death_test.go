package e2e

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// The tests here and in stop_test.go look at the clock, so they do not run beside
// others.

func TestEngineKilledInMidStream(t *testing.T) {
	p := newPod(t)
	proxy, engine := p.childPID("proxy"), p.childPID("engine")
	s := p.mustStream(t, counting(4000))
	s.pieces(t, 5)
	whole := make(chan reply, 1)
	go func() { whole <- p.call(http.MethodPost, completionPath, counting(4000).String()) }()
	await(t, "two to run", func() bool { return engineState(t, p).Running == 2 })

	killed := time.Now()
	signalPID(t, engine, syscall.SIGKILL)
	if !within(time.Second, func() bool { return p.health("ready").status == http.StatusServiceUnavailable }) {
		t.Errorf("%s after the kill: %d", time.Since(killed), p.health("ready").status)
	}
	t.Logf("not ready %s after the kill", time.Since(killed))
	if r := p.health("live"); r.status != http.StatusOK {
		t.Errorf("live: %d", r.status)
	}
	got := s.rest()
	if s.err != nil || got.done || got.fault == nil || got.fault.Code != "engine_died" || got.finish != "" {
		t.Errorf("the stream ended with %+v, fault %+v, %v", got, got.fault, s.err)
	}
	if r := <-whole; r.status != http.StatusBadGateway || !strings.Contains(r.body, `"code":"engine_died"`) {
		t.Errorf("the whole answer: %d %s %v", r.status, r.body, r.err)
	}

	await(t, "the engine to be back", func() bool { return p.health("ready").status == http.StatusOK })
	t.Logf("ready %s after the kill", time.Since(killed))
	if g := p.mustGenerate(t, chat(italy, 20)); !strings.Contains(g.text, "Rome") {
		t.Errorf("the restarted engine says %q", g.text)
	}
	if now := p.childPID("proxy"); now != proxy || !alive(proxy) {
		t.Errorf("the proxy was %d and is %d", proxy, now)
	}
	if now := p.childPID("engine"); now == engine || !alive(now) {
		t.Errorf("the engine was %d and is %d", engine, now)
	}
	m := p.scrape(t)
	for series, want := range map[string]float64{
		finishes(api.FinishEngineDied): 2, "semantic_engine_restarts_total": 1, "semantic_engine_up": 1, "semantic_requests_in_flight": 0,
	} {
		if m.of(t, series) != want {
			t.Errorf("%s is %v, want %v", series, m[series], want)
		}
	}
	if died := deaths(t, p, "engine"); died != 1 {
		t.Errorf("serve.log tells of %d deaths of the engine", died)
	}
}

func deaths(t *testing.T, p *pod, process string) int {
	t.Helper()
	n := 0
	for _, l := range mustReadLogs(t, p.logDir(), "serve") {
		if l.str("msg") == "child died" && l.str("child") == process {
			n++
		}
	}
	return n
}

func TestEngineKilledAgainAndAgainComesBack(t *testing.T) {
	p := newPod(t)
	for n := range 3 {
		signalPID(t, p.childPID("engine"), syscall.SIGKILL)
		await(t, "the restart to be counted", func() bool {
			return p.scrape(t).of(t, "semantic_engine_restarts_total") == float64(n+1)
		})
		await(t, "the engine to be back", func() bool { return p.health("ready").status == http.StatusOK })
		p.mustGenerate(t, chat("Hi.", 2))
	}
}

// TestEngineThatStandsStillIsNotReadyAndGoesOn stops the engine without its socket
// closing: nothing but silence tells.
func TestEngineThatStandsStillIsNotReadyAndGoesOn(t *testing.T) {
	p := newPod(t)
	s := p.mustStream(t, counting(120))
	s.pieces(t, 3)
	engine := p.childPID("engine")
	stopped := time.Now()
	signalPID(t, engine, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(engine, syscall.SIGCONT) }()
	var slowest time.Duration
	await(t, "readiness to turn", func() bool {
		began := time.Now()
		r := p.health("ready")
		slowest = max(slowest, time.Since(began))
		return r.status == http.StatusServiceUnavailable
	})
	t.Logf("not ready %s after the engine stood still", time.Since(stopped))
	if slowest > time.Second {
		t.Errorf("a probe waited %s for an engine that stands still", slowest)
	}
	began := time.Now()
	if r := p.call(http.MethodPost, chatPath, chat("Hi.", 1).String()); r.status != http.StatusServiceUnavailable {
		t.Errorf("a chat meanwhile: %d %s %v", r.status, r.body, r.err)
	}
	if m := p.scrape(t); m.of(t, "semantic_engine_up") != 0 {
		t.Error("semantic_engine_up is 1 while it stands still")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a refusal and a scrape took %s", took)
	}
	signalPID(t, engine, syscall.SIGCONT)
	await(t, "readiness to turn back", func() bool { return p.health("ready").status == http.StatusOK })
	if got := s.rest(); !got.done || got.usage.Completion != 120 {
		t.Errorf("the stream that stood still ended with %+v, %v", got, s.err)
	}
	if m := p.scrape(t); m.of(t, "semantic_engine_restarts_total") != 0 || m.of(t, finishes(api.FinishLength)) != 1 {
		t.Errorf("restarts %v, length %v", m["semantic_engine_restarts_total"], m[finishes(api.FinishLength)])
	}
}

func TestKilledProxyComesBackAloneAndTheEngineNotices(t *testing.T) {
	p := newPod(t)
	proxy, engine := p.childPID("proxy"), p.childPID("engine")
	s := p.mustStream(t, counting(4000))
	s.pieces(t, 3)
	signalPID(t, proxy, syscall.SIGKILL)
	if got := s.rest(); got.done || s.err == nil {
		t.Errorf("the stream of a killed proxy ended with %+v, %v", got, s.err)
	}
	await(t, "the proxy to be back", func() bool { return p.health("ready").status == http.StatusOK })
	if now := p.childPID("proxy"); now == proxy || !alive(now) {
		t.Errorf("the proxy was %d and is %d", proxy, now)
	}
	if now := p.childPID("engine"); now != engine || !alive(engine) {
		t.Errorf("the engine was %d and is %d", engine, now)
	}
	await(t, "the engine to drop the lost stream", func() bool { return engineState(t, p).Running == 0 })
	if g := p.mustGenerate(t, chat(italy, 20)); !strings.Contains(g.text, "Rome") {
		t.Errorf("got %+v", g)
	}
}

func TestKilledSidecarComesBackAndNoRequestNotices(t *testing.T) {
	p := newPod(t)
	sidecar := p.childPID("sidecar")
	s := p.mustStream(t, counting(150))
	s.pieces(t, 3)
	signalPID(t, sidecar, syscall.SIGKILL)
	await(t, "the sidecar to be back", func() bool {
		now := p.childPID("sidecar")
		return now != sidecar && callWith(http.DefaultClient, http.MethodGet, p.sidecar+"/health/ready", "").status == http.StatusOK
	})
	if got := s.rest(); !got.done || got.usage.Completion != 150 {
		t.Errorf("the stream beside it ended with %+v, %v", got, s.err)
	}
	if died := deaths(t, p, "sidecar") + deaths(t, p, "proxy") + deaths(t, p, "engine"); died != 1 {
		t.Errorf("serve.log tells of %d deaths", died)
	}
}

// TestChildrenDoNotOutliveAKilledServe also starts anew among what it left behind.
func TestChildrenDoNotOutliveAKilledServe(t *testing.T) {
	p := newDoomedPod(t, settings{dir: shortDir(t)})
	s, err := p.stream(context.Background(), counting(60))
	if err != nil {
		t.Fatal(err)
	}
	s.pieces(t, 1)
	p.signal(syscall.SIGKILL)
	await(t, "the children to end", func() bool { return p.allGone() == nil })
	if got := s.rest(); got.fault != nil {
		t.Errorf("the stream ended with %+v", got.fault)
	}
	again := newDoomedPod(t, settings{dir: p.dir})
	again.mustGenerate(t, chat("Hi.", 2))
	again.mustStop(t)
}
