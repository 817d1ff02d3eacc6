package proxy

import (
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"go.uber.org/zap"
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
	x.settle()
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
	took := time.Since(x.start)
	w := x.waterfall(took)
	p.meters.count(x, status, took, &w)
	x.tell(status, took, &w)
	if entry := p.log.Zap().Check(zapcore.InfoLevel, "request"); entry != nil {
		x.fields = x.appendFields(x.fields[:0], status, took, &w)
		entry.Write(x.fields...)
	}
}

// appendFields adds the fields of the access log. Neither prompts nor answers, keys
// or query strings are among them.
func (x *exchange) appendFields(f []zap.Field, status int, took time.Duration, w *waterfall) []zap.Field {
	path := x.path
	if len(path) > maxLoggedPath {
		path = path[:maxLoggedPath]
	}
	f = append(f,
		zap.String("request_id", text(x.id)),
		zap.String("trace_id", text(x.trace.trace())),
		zap.String("span_id", text(x.trace.span())),
		zap.String("tenant", x.tenant()))
	if x.who != nil {
		f = append(f, zap.String("key", x.who.Key))
	}
	if x.stranger != keys.Known {
		f = append(f, zap.String("auth", string(x.stranger)))
	}
	if agent := x.agent(); len(agent) > 0 {
		f = append(f, zap.String("agent", text(agent)))
	}
	f = append(f,
		zap.String("method", text(x.ctx.Method())),
		zap.String("path", text(path)),
		zap.Int("status", status),
		zap.String("finish", string(x.finish)),
		zap.Float64("duration_ms", rounded(milliseconds(took))))
	if x.ttft > 0 {
		f = append(f, zap.Float64("ttft_ms", rounded(milliseconds(x.ttft))))
	}
	f = w.appendFields(f)
	if x.out.tokens() {
		f = append(f,
			zap.Int64("prompt_tokens", x.out.prompt),
			zap.Int64("cached_tokens", x.out.cached),
			zap.Int64("completion_tokens", x.out.completion))
	}
	return append(f,
		zap.Int64("bytes_in", int64(len(x.body))),
		zap.Int64("bytes_out", x.bytesOut),
		zap.String("client", x.client))
}

// rounded keeps three decimals of milliseconds.
func rounded(ms float64) float64 { return float64(int64(ms*1000+0.5)) / 1000 }
