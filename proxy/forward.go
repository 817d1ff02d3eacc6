package proxy

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

const (
	// deadlineGrace lets the engine be first to say that the time is up, since it
	// alone can say how many tokens were made until then.
	deadlineGrace = 250 * time.Millisecond
	// maxJSONAnswer bounds an answer that is not streamed.
	maxJSONAnswer = 64 << 20
)

// takeSlot holds the request against what the whole server can do, before it costs
// its key anything.
func (p *Proxy) takeSlot(x *exchange, next handler) {
	if x.route.admin { // an engine that is full or without a model still takes an admin's orders
		next(x)
		return
	}
	if e := p.health.refusal(); e != nil {
		x.fail(e)
		return
	}
	if x.slot = p.slots.take(); !x.slot {
		p.meters.refusedRequests.Inc()
		x.fail(errTooBusy(p.cfg.MaxInFlight))
		return
	}
	next(x)
}

// forward sends the request to the engine and passes its answer on. It is the
// last stage.
func (p *Proxy) forward(x *exchange, _ handler) {
	if g := x.conn.lane; g != nil {
		g.ask(x)
		return
	}
	u, e := p.send(x)
	if e != nil {
		x.fail(e)
		return
	}
	p.receive(x, u)
}

// send gets the request to the engine. It is tried again on a new connection only
// if the kernel took no byte of it: a POST is never sent twice.
func (p *Proxy) send(x *exchange) (*upstream, *api.Error) {
	u := p.pool.take(x.passed[admitted])
	for {
		if u == nil {
			var err error
			u, err = p.pool.dial()
			if x.mayDialAgain(err) {
				if cause := x.conn.pause(backlogPause); cause != "" {
					return nil, p.endedBy(cause, nil)
				}
				continue
			}
			if err != nil {
				return nil, p.cannotDial(err)
			}
		}
		if !x.conn.attach(u) {
			u.hangUp()
			return nil, p.endedBy(x.conn.detach(), nil)
		}
		u.doneBy(x.start.Add(p.cfg.RequestTimeout + deadlineGrace))
		u.out = p.appendRequest(u.out[:0], x)
		n, err := u.send(x.body)
		if err == nil {
			x.sent = x.now()
			return u, nil
		}
		cause := x.conn.detach()
		u.hangUp()
		if n > 0 || !u.reused || cause != "" || isTimeout(err) {
			return nil, p.endedBy(cause, err)
		}
		u = nil
	}
}

// An engine whose backlog is full listens, and is busy: it is tried so often, with a
// pause between, before the request is refused.
const (
	backlogTries = 20
	backlogPause = 5 * time.Millisecond
)

// mayDialAgain reports whether the engine is to be tried again after a pause.
func (x *exchange) mayDialAgain(err error) bool {
	if !errors.Is(err, syscall.EAGAIN) || x.dials == backlogTries {
		return false
	}
	x.dials++
	return true
}

// cannotDial turns readiness at once when nobody listens on the engine's socket.
func (p *Proxy) cannotDial(err error) *api.Error {
	if errors.Is(err, syscall.EAGAIN) {
		return errBacklog() // it listens
	}
	p.pool.suspect()
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		p.health.lost()
		return errUnreachable()
	}
	p.log.Zap().Warn("cannot connect to the engine", zap.Error(err))
	return errBacklog()
}

// appendRequest writes the request's head as the engine gets it. Nothing of the
// client's goes in but what is named here: so no header of the pod's own is
// believed from outside, no key goes further, and no framing but ours.
func (p *Proxy) appendRequest(b []byte, x *exchange) []byte {
	b = append(append(append(b, x.ctx.Method()...), ' '), x.path...) // which a route was found for
	b = append(b, " HTTP/1.1\r\nHost: engine\r\n"...)
	if x.ctx.IsPost() || x.ctx.IsPut() {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(x.body)), 10)
		b = append(b, "\r\n"...)
	}
	b = appendHeader(b, api.HeaderRequestID, x.id)
	b = appendHeader(b, api.HeaderTraceparent, x.trace.text[:])
	if x.trace.continued {
		b = appendHeader(b, "tracestate", x.head.tracestate)
	}
	b = append(append(append(b, api.HeaderTenant+": "...), x.tenant()...), "\r\n"...)
	if x.who != nil {
		b = append(append(append(b, api.HeaderKey+": "...), x.who.Key...), "\r\n"...)
		if left := x.decision.Allowance; left >= 0 {
			b = append(strconv.AppendInt(append(b, api.HeaderAllowance+": "...), left, 10), "\r\n"...)
		}
	}
	b = appendHeader(b, api.HeaderAgent, x.agent())
	b = appendHeader(b, "Anthropic-Version", x.head.anthropicVersion)
	b = appendHeader(b, "Anthropic-Beta", x.head.anthropicBeta)
	at := x.passed[admitted]
	if x.dials > 0 { // which took time
		at = x.now()
	}
	left := max(1, (p.cfg.RequestTimeout - at.Sub(x.start)).Milliseconds())
	b = strconv.AppendInt(append(b, api.HeaderDeadline+": "...), left, 10)
	return append(b, "\r\n\r\n"...)
}

// appendHeader writes a header, unless it has no value.
func appendHeader(b []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// receive reads the answer: a stream's head, or all of any other.
func (p *Proxy) receive(x *exchange, u *upstream) {
	var a answerHead
	runtime.Gosched() // while others run, the answer may come: then it is read without being waited for
	if err := a.read(u, x); err != nil {
		p.abandon(x, u, err)
		return
	}
	x.ctx.Response.SetStatusCode(a.status)
	if a.sse {
		p.startStream(x, u, &a)
		return
	}
	b := newBody(u, &a, &x.out)
	if err := b.readAll(maxJSONAnswer, func(piece []byte) { x.ctx.Response.AppendBody(piece) }); err != nil {
		p.abandon(x, u, err)
		return
	}
	p.accept(x, u, &a)
	x.conn.more = len(x.ctx.Response.Body()) >= writeBuffer
}

// accept makes the engine's whole answer that of the request.
func (p *Proxy) accept(x *exchange, u *upstream, a *answerHead) {
	x.answered = x.heardAt()
	if cause := p.putBack(x, u, a.close); cause == api.FinishClientGone {
		x.fail(errClientGone())
		return
	}
	x.finish = finishOf(a.status, x.out.finish)
	x.ttft = x.firstToken()
	p.retryLater(x, a)
}

// retryLater adds the Retry-After that a refusal of the engine's may lack.
func (p *Proxy) retryLater(x *exchange, a *answerHead) {
	if (a.status == 503 || a.status == 429) && !a.retryAfter {
		x.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, seconds(0))
	}
}

// putBack ends the engine's part in the request, whose answer was read to its end.
func (p *Proxy) putBack(x *exchange, u *upstream, closes bool) api.Finish {
	cause := x.conn.detach()
	x.release()
	if cause == "" && !closes && u.clean() {
		u.putBack(p, x.answered)
	} else {
		u.hangUp()
	}
	return cause
}

// abandon ends the engine's part in a request whose answer cannot be read, and
// answers with the reason.
func (p *Proxy) abandon(x *exchange, u *upstream, err error) {
	cause := x.conn.detach()
	u.hangUp()
	x.release()
	x.fail(p.endedBy(cause, err))
}

// endedBy says why a request that was with the engine has no answer: cause if it
// was cancelled, else what went wrong with the connection.
func (p *Proxy) endedBy(cause api.Finish, err error) *api.Error {
	switch {
	case cause == api.FinishDrained:
		return errDrained()
	case cause != "", err == nil:
		return errClientGone()
	case isTimeout(err):
		return errDeadline(p.cfg.RequestTimeout)
	}
	p.pool.suspect()
	if errors.Is(err, errGarbage) {
		return errEngineDied(fmt.Sprintf("sent an answer that cannot be read (%v)", err))
	}
	return errEngineDied("ended before its answer did")
}
