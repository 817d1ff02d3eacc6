package proxy

import (
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"github.com/semantic-pod/semantic/proxy/shared"
)

// bytesPerToken is what a token of a prompt is thought to have. The true count is
// charged at the end.
const bytesPerToken = 4

// admit takes what the request needs out of its key's limits, and waits for its
// turn.
func (p *Proxy) admit(x *exchange, next handler) {
	if x.limited() {
		x.decision = p.decide(x)
		if x.decision.Reason != limit.Admitted {
			x.release()
			p.refuseByKey(x)
			return
		}
		if wait := x.decision.Wait; wait > 0 {
			p.hold(x, wait, next)
			return
		}
	}
	next(x)
}

// hold goes on with next after d, unless the request is cancelled before.
func (p *Proxy) hold(x *exchange, d time.Duration, next handler) {
	if g := x.conn.lane; g != nil {
		g.hold(d, next)
		return
	}
	cause := x.conn.pause(d)
	if cause != "" && (cause != api.FinishDrained || x.stranger == keys.Known) { // a stranger is refused as one
		x.fail(p.endedBy(cause, nil))
		return
	}
	next(x)
}

// decide asks the limits that all proxies share, if there are such, and this proxy's
// own while those are away.
func (p *Proxy) decide(x *exchange) limit.Decision {
	need := p.need(x)
	if p.shared != nil && x.who.Limits != (limit.Limits{}) {
		d, grant, up := p.shared.Admit(&shared.Request{
			Name: x.who.Tenant + "/" + x.who.Key, ID: string(x.trace.span()), // which no client can choose
			Limits: x.who.Limits, Need: need, Lease: p.cfg.RequestTimeout + time.Minute,
		})
		if up {
			x.shared = grant
			if p.cfg.LimitNoDelay {
				d.Wait = 0
			}
			return d
		}
		p.meters.fellBack.Inc()
	}
	return x.who.Limit.Admit(x.passed[bodyRead], need)
}

// need is what the request may use at most.
func (p *Proxy) need(x *exchange) limit.Need {
	n := limit.Need{Patience: p.patience(x)}
	if x.route.tokens {
		x.prompt = max(1, int64(len(x.body)/bytesPerToken))
		n.Prompt, n.Completion = x.prompt, scan(x.body).completion(p.cfg.DefaultMaxTokens)
	}
	return n
}

// settle charges the key for what the request has used, and ends its being one of
// the key's concurrent ones. It is called at each request's end; what was never
// admitted holds nothing.
func (x *exchange) settle(now time.Time) {
	x.decision.Grant.Settle(now, x.used())
	x.shared.Settle(x.used())
}

// used is what the engine counted. It cannot count for a client that left or was cut
// off: then it is the prompt and an event a token, so that leaving just before the
// end is no way to get an answer for nothing.
func (x *exchange) used() int64 {
	if x.out.tokens() {
		return x.out.prompt + x.out.completion
	}
	switch x.finish {
	case api.FinishClientGone, api.FinishDeadline, api.FinishDrained:
		if !x.sent.IsZero() {
			return x.prompt + int64(x.stream.events.whole)
		}
	}
	return 0
}
