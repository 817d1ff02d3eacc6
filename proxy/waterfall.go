package proxy

import (
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// moment is a point that a request passes on its way.
type moment int

const (
	authenticated moment = iota
	withinLimits         // of its key, as far as is known without the body
	bodyRead
	admitted
	moments
)

// pass is the stage that notes when a request passed a moment.
func pass(m moment) stage {
	return func(_ *Proxy, x *exchange, next handler) {
		if x.passed[m].IsZero() {
			x.passed[m] = x.now()
		}
		next(x)
	}
}

// passSoon is pass for a moment that comes right behind the one before. In a loop it is
// the same, without a look at the clock, unless the request had to wait in between.
func passSoon(m moment) stage {
	return func(_ *Proxy, x *exchange, next handler) {
		x.passed[m] = x.passed[m-1]
		if x.conn.lane == nil || x.waited {
			x.passed[m] = x.now()
		}
		next(x)
	}
}

// waterfall is where a request's time went. The phases follow one another and add
// up to the whole.
type waterfall struct {
	auth    time.Duration // the header's coming, and the key
	limit   time.Duration // the key's limits, the wait for its turn included
	read    time.Duration // the body's coming
	forward time.Duration // to the engine
	queue   time.Duration // in the engine, until its first step
	prefill time.Duration // until its first token
	decode  time.Duration // until its last one
	engine  time.Duration // with the engine, where it told no times
	write   time.Duration // the rest: the answer's way back
	waited  time.Duration // of limit: for its turn
}

// waterfall measures a request that took so long. Phases that it did not come to are
// 0, and what was refused ends in the phase that refused it.
func (x *exchange) waterfall(took time.Duration) (w waterfall) {
	at := x.start
	phases := [...]*time.Duration{&w.auth, &w.limit, &w.read, &w.limit}
	for m, phase := range phases {
		if x.passed[m].IsZero() {
			*phase += took - at.Sub(x.start)
			return w
		}
		*phase += x.passed[m].Sub(at)
		at = x.passed[m]
	}
	w.waited = min(x.decision.Wait, w.limit)
	if x.sent.IsZero() {
		w.forward = took - at.Sub(x.start)
		return w
	}
	w.forward = x.sent.Sub(at)
	left := took - x.sent.Sub(x.start)
	known := true
	for _, p := range [...]struct {
		phase *time.Duration
		field outcomeField
		ms    float64
	}{{&w.queue, headerQueue, x.out.queueMS}, {&w.prefill, headerPrefill, x.out.prefillMS}, {&w.decode, headerDecode, x.out.decodeMS}} {
		if known = known && x.out.known(p.field); known {
			*p.phase = time.Duration(p.ms * float64(time.Millisecond))
			left -= *p.phase
		}
	}
	if !known {
		w.engine = left
		if !x.answered.IsZero() {
			w.engine = max(0, left-(took-x.answered.Sub(x.start)))
		}
		left -= w.engine
	}
	if left < 0 {
		// The engine had begun before the proxy came to look at the clock after sending.
		w.forward = max(0, w.forward+left)
	}
	w.write = max(0, left)
	return w
}

// overhead is what the proxy itself added to a request that was with the engine:
// neither the client's sending, nor a wait that its limits ask for, nor the engine.
func (x *exchange) overhead(took time.Duration, w *waterfall) time.Duration {
	if x.sent.IsZero() || x.answered.IsZero() {
		return 0
	}
	return max(0, w.auth+w.limit-w.waited+w.forward+took-x.answered.Sub(x.start))
}

// timed is one phase of a waterfall, with the name of its field.
type timed struct {
	name string
	took time.Duration
}

// phases lists the waterfall in order.
func (w *waterfall) phases() [9]timed {
	return [...]timed{
		{"auth_ms", w.auth}, {"limit_ms", w.limit}, {"read_ms", w.read}, {"forward_ms", w.forward},
		{"queue_ms", w.queue}, {"prefill_ms", w.prefill}, {"decode_ms", w.decode}, {"engine_ms", w.engine}, {"write_ms", w.write},
	}
}

// fillLine adds the phases to a line of the access log.
func (w *waterfall) fillLine(n *telemetry.Line) {
	for _, p := range w.phases() {
		if p.took > 0 {
			n.Milliseconds(p.name, p.took)
		}
	}
}
