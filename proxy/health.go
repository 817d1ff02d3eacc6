package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
)

// reason is why the pod should get no requests.
type reason string

// The reasons, in the order in which they go before each other.
const (
	reasonShuttingDown reason = "shutting_down"
	reasonUnreachable  reason = "engine_unreachable"
	reasonLoading      reason = "model_loading"
	reasonOffloaded    reason = "model_offloaded"
	reasonCutOff       reason = "upstream_unreachable"
	reasonPressure     reason = "pool_near_exhaustion"
	reasonStalled      reason = "engine_stalled"
)

// Pressure: the pool counts as nearly exhausted when it has been above pressureOn
// percent for pressureFor, until it is below pressureOff.
const (
	pressureOn  = 90
	pressureOff = 80
	pressureFor = 5 * time.Second
)

// health keeps what the pod's state is, so that a probe is answered from memory
// and never waits for the engine.
type health struct {
	onPressure bool
	stallAfter time.Duration

	mu        sync.Mutex
	draining  bool // the process stops
	aside     bool // an admin took it out of the load balancer
	up        bool
	state     api.EngineState // the last that was seen
	highSince time.Time       // when the pool went above pressureOn; zero below it
	pressed   bool
	started   bool // the engine was ready once

	view atomic.Pointer[view]
}

// view is what follows from the state, worked out when it changes.
type view struct {
	up             bool
	reason         reason
	ready, startup answer
	refusal        *api.Error // of requests; nil lets them through
}

// answer is the status and body of a probe.
type answer struct {
	status int
	body   []byte
}

func newHealth(onPressure bool, stallAfter time.Duration) *health {
	h := &health{onPressure: onPressure, stallAfter: stallAfter}
	h.publish()
	return h
}

// seen takes the state that the engine answered at that time.
func (h *health) seen(s api.EngineState, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up, h.state = true, s
	h.started = h.started || s.Phase == api.PhaseReady
	switch {
	case s.PoolUtilization <= pressureOn:
		h.highSince = time.Time{}
	case h.highSince.IsZero():
		h.highSince = now
	}
	switch {
	case s.PoolUtilization < pressureOff:
		h.pressed = false
	case !h.highSince.IsZero() && now.Sub(h.highSince) >= pressureFor:
		h.pressed = true
	}
	h.publish()
}

// lost says that the engine cannot be reached.
func (h *health) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up, h.pressed, h.highSince = false, false, time.Time{}
	h.publish()
}

// drain turns readiness, for good.
func (h *health) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	h.publish()
}

// stepAside turns readiness until it is told otherwise.
func (h *health) stepAside(aside bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aside = aside
	h.publish()
}

func (h *health) engineUp() bool          { return h.view.Load().up }
func (h *health) refusal() *api.Error     { return h.view.Load().refusal }
func (h *health) current() (v *view)      { return h.view.Load() }
func (h *health) leaving() bool           { return h.view.Load().reason == reasonShuttingDown }
func (h *health) engine() api.EngineState { h.mu.Lock(); defer h.mu.Unlock(); return h.state }

// publish works out the answers. The caller holds mu, except in newHealth.
func (h *health) publish() {
	engine := h.engineReason()
	v := &view{up: h.up, reason: h.reason(engine)}
	// A drain refuses no request by itself: load balancers still send some.
	v.refusal = notReady(engine, h.state.LoadError)
	pool := strconv.FormatFloat(h.state.PoolUtilization, 'f', 1, 64)
	if v.reason == "" {
		v.ready = answer{http.StatusOK, fmt.Appendf(nil, `{"status":"ready","pool_utilization":%s}`, pool)}
	} else {
		v.ready = answer{http.StatusServiceUnavailable, fmt.Appendf(nil, `{"status":"not_ready","reason":%q,"pool_utilization":%s}`, v.reason, pool)}
	}
	v.startup = answer{http.StatusOK, []byte(`{"status":"started"}`)}
	if !h.started {
		why := reasonLoading
		if !h.up {
			why = reasonUnreachable
		}
		v.startup = answer{http.StatusServiceUnavailable, fmt.Appendf(nil, `{"status":"starting","reason":%q}`, why)}
	}
	h.view.Store(v)
}

func (h *health) reason(engine reason) reason {
	switch {
	case h.draining, h.aside:
		return reasonShuttingDown
	case engine != "":
		return engine
	case h.state.Phase == api.PhaseStopping:
		return reasonShuttingDown
	case h.pressed && h.onPressure:
		return reasonPressure
	case h.state.Queued+h.state.Running > 0 && time.Duration(h.state.LastStepAgeMS)*time.Millisecond >= h.stallAfter:
		return reasonStalled
	}
	return ""
}

// engineReason is why the engine could take no request at all.
func (h *health) engineReason() reason {
	switch {
	case !h.up:
		return reasonUnreachable
	case h.state.Phase == api.PhaseLoading:
		return reasonLoading
	case h.state.Phase == api.PhaseOffloaded:
		return reasonOffloaded
	case h.state.Phase == api.PhaseCutOff:
		return reasonCutOff
	}
	return ""
}

func (p *Proxy) answerLive(x *exchange) { x.probe(answer{http.StatusOK, alive}) }

func (p *Proxy) answerReady(x *exchange) { x.probe(p.health.current().ready) }

func (p *Proxy) answerStartup(x *exchange) { x.probe(p.health.current().startup) }

var alive = []byte(`{"status":"alive"}`)

func (x *exchange) probe(a answer) {
	r := &x.ctx.Response
	r.SetStatusCode(a.status)
	r.SetBodyRaw(a.body)
	if x.asIs = a.status == http.StatusOK && x.isPlain(); x.asIs {
		x.lines = append(x.lines, "Content-Type: "+jsonType+"\r\n"...)
	} else {
		r.Header.SetContentType(jsonType)
	}
}

// answerVersion says what runs.
func (p *Proxy) answerVersion(x *exchange) {
	b := telemetry.ReadBuild()
	x.probe(answer{http.StatusOK, fmt.Appendf(nil, `{"version":%q,"commit":%q}`, b.Version, b.Commit)})
}
