package proxy

import (
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/telemetry"
	"go.uber.org/zap/zapcore"
)

// maxLoggedPath is how much of a path goes into the log.
const maxLoggedPath = 256

// observe counts and logs every request, whatever becomes of it. Probes are no
// requests.
func (p *Proxy) observe(x *exchange, next handler) {
	if p.cfg.Unobserved || x.route != nil && x.route.probe {
		next(x)
		return
	}
	p.meters.inFlight.Add(1)
	x.counted = true
	next(x)
	if !x.later {
		p.observed(x)
	}
}

// observed records a request whose answer is whole.
func (p *Proxy) observed(x *exchange) {
	if x.counted && !x.streaming {
		x.bytesOut = int64(len(x.ctx.Response.Body()))
		p.record(x)
	}
}

// record writes down how a request ended: once, in the metrics and in the log.
func (p *Proxy) record(x *exchange) {
	x.release()
	took := time.Since(x.start)
	x.took, x.fall = took, x.waterfall(took)
	x.settle(x.start.Add(took))
	if !x.counted {
		return
	}
	x.counted = false
	p.meters.inFlight.Add(-1)
	status := x.ctx.Response.StatusCode()
	if x.finish == api.FinishClientGone {
		status = statusClientGone
	}
	if x.finish == "" {
		x.finish = (&api.Error{Status: status}).Class()
		if status < 400 {
			x.finish = api.FinishOK
		}
	}
	w := &x.fall
	p.meters.count(x, status, took, w)
	x.tell(status, took, w)
	if p.log.Begin(&x.line, zapcore.InfoLevel, "request") {
		x.fillLine(&x.line, status, took, w)
		p.log.End(&x.line, x.start.Add(took))
	}
}

// fillLine adds the fields of the access log. Neither prompts nor answers, keys or
// query strings are among them.
func (x *exchange) fillLine(n *telemetry.Line, status int, took time.Duration, w *waterfall) {
	path := x.path
	if len(path) > maxLoggedPath {
		path = path[:maxLoggedPath]
	}
	n.Text("request_id", text(x.id))
	n.Text("trace_id", text(x.trace.trace()))
	n.Text("span_id", text(x.trace.span()))
	n.Text("tenant", x.tenant())
	if x.who != nil {
		n.Text("key", x.who.Key)
	}
	if x.stranger != keys.Known {
		n.Text("auth", string(x.stranger))
	}
	if agent := x.agent(); len(agent) > 0 {
		n.Text("agent", text(agent))
	}
	n.Text("method", text(x.ctx.Method()))
	n.Text("path", text(path))
	n.Number("status", int64(status))
	n.Text("finish", string(x.finish))
	n.Milliseconds("duration_ms", took)
	if x.ttft > 0 {
		n.Milliseconds("ttft_ms", x.ttft)
	}
	w.fillLine(n)
	if x.out.tokens() {
		n.Number("prompt_tokens", x.out.prompt)
		n.Number("cached_tokens", x.out.cached)
		n.Number("completion_tokens", x.out.completion)
	}
	n.Number("bytes_in", int64(len(x.body)))
	n.Number("bytes_out", x.bytesOut)
	n.Text("client", x.client)
}

// rounded keeps three decimals of milliseconds.
func rounded(ms float64) float64 { return float64(int64(ms*1000+0.5)) / 1000 }
