package proxy

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"github.com/semantic-pod/semantic/proxy/shared"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"
)

// handler answers a request.
type handler func(*exchange)

// stage is one step of a request's way: it answers, or calls next, or does
// something before and after.
type stage func(p *Proxy, x *exchange, next handler)

// stages is the way, in order.
type stages []stage

func (s stages) handler() handler {
	h := handler(func(*exchange) {})
	for i := len(s) - 1; i >= 0; i-- {
		own, next := s[i], h
		h = func(x *exchange) { own(x.p, x, next) }
	}
	return h
}

// exchange is one request and its answer. It belongs to the goroutine of its
// connection.
type exchange struct {
	p    *Proxy
	ctx  *fasthttp.RequestCtx
	conn *conn
	head head // the headers that matter, as they came

	start time.Time
	route *route // nil for a path that is none of ours
	path  []byte // as it came, without the query

	target []byte // of a loop: the path with the query
	id     []byte // request id
	trace  traceID

	addr   netip.Addr // from where it comes
	client string     // the same as text

	who      *keys.Identity // whose key it came with; nil where none is asked for
	stranger keys.Reason    // why it came with none
	decision limit.Decision // of the key's limits
	shared   shared.Grant   // what it holds of those that all proxies share
	prompt   int64          // tokens that the prompt was thought to have

	raw       []byte     // of a loop: request line and headers, as they came
	lines     []byte     // of a loop: headers of the engine's that pass on
	asIs      bool       // of a loop: they are all that the answer has beside those of every one
	waited    bool       // of a loop: for the rest of the body, or for its turn
	goodbye   bool       // of a loop: the client asks for the connection's end
	held      []byte     // of a loop: what has come of the body
	length    int        // of a loop: of the body
	later     bool       // of a loop: the pipeline has returned before the answer was known
	body      []byte     // of a POST
	whole     bool       // the body was read to its end
	dials     int        // how often the engine's backlog was full
	unread    error      // why fasthttp could not read the request
	refusal   *api.Error // our own answer, when it is an error
	finish    api.Finish
	out       outcome // what the engine said of it
	passed    [moments]time.Time
	sent      time.Time // when the request was with the engine
	answered  time.Time // when all of the engine's answer was here
	ttft      time.Duration
	took      time.Duration // the whole request; 0 while it is not over
	fall      waterfall     // of one that is over
	bytesOut  int64
	slot      bool // it holds one of --max-in-flight
	streaming bool // its end comes after the handler's
	counted   bool // observe has seen its start and not its end

	stream     stream
	told       []byte               // headers of the answer: see respond
	line       telemetry.Line       // of the access log
	attributes []attribute.KeyValue // of its span
}

// begin takes an exchange for the request that ctx holds.
func (p *Proxy) begin(ctx *fasthttp.RequestCtx) *exchange {
	x := p.beginOn(ctx, ctx.Conn().(*conn))
	x.look(ctx.Request.Header.RequestURI(), ctx.Request.Header.RawHeaders())
	return x
}

func (p *Proxy) beginOn(ctx *fasthttp.RequestCtx, c *conn) *exchange {
	x := p.exchanges.Get().(*exchange)
	x.ctx = ctx
	x.conn = c
	x.start = c.since
	return x
}

// look reads a request's target and headers.
func (x *exchange) look(target, headers []byte) {
	x.path = pathOf(target)
	x.route = routeOf(x.path)
	x.head.read(headers)
}

// now is the time, by one look at the clock where time.Now takes two.
func (x *exchange) now() time.Time { return x.start.Add(time.Since(x.start)) }

// heardAt is when the engine's answer was here.
func (x *exchange) heardAt() time.Time {
	g := x.conn.lane
	if g == nil {
		return x.now()
	}
	if at := g.loop.seen; at.After(x.sent) {
		return at
	}
	return x.sent // it was here before the loop came to look
}

// end gives the exchange back, once nothing can refer to it any more.
func (p *Proxy) end(x *exchange) {
	id, body, told, line, kv, s := x.id[:0], recycled(x.body), x.told[:0], x.line, x.attributes[:0], x.stream.events.recycled()
	raw, lines := recycled(x.raw), recycled(x.lines)
	*x = exchange{p: p, id: id, body: body, told: told, line: line, attributes: kv, raw: raw, lines: lines}
	x.stream.events = s
	p.exchanges.Put(x)
}

// serve is fasthttp's handler.
func (p *Proxy) serve(ctx *fasthttp.RequestCtx) { p.run(ctx, nil, p.pipeline) }

func (p *Proxy) run(ctx *fasthttp.RequestCtx, unread error, way handler) {
	x := p.begin(ctx)
	x.unread = unread
	p.protected(x, way)
	x.conn.linger = x.mayStillSend()
	if !x.streaming {
		p.end(x)
	}
}

// protected keeps a fault in one request from ending the process: fasthttp
// recovers nothing.
func (p *Proxy) protected(x *exchange, way handler) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		p.logFault(x, fault)
		x.streaming = false
		x.release()
		x.fail(errInternal())
		x.ctx.SetConnectionClose()
		p.respond(x)
		p.record(x)
	}()
	way(x)
}

func (p *Proxy) logFault(x *exchange, fault any) {
	p.log.Zap().Error("request failed in the proxy", zap.ByteString("request_id", x.id),
		zap.String("fault", fmt.Sprint(fault)), zap.ByteString("stack", debug.Stack()))
}

// fail makes e the answer.
func (x *exchange) fail(e *api.Error) {
	x.refusal, x.asIs = e, false
	x.finish = e.Class()
	r := &x.ctx.Response
	r.Reset()
	r.Header.DisableNormalizing() // which Reset undoes
	r.SetStatusCode(e.Status)
	r.Header.SetContentType(jsonType)
	r.SetBodyRaw(e.Body(api.DialectOf(string(x.path))))
	if e.Status == statusClientGone {
		r.SetConnectionClose()
	}
	if e.RetryAfter > 0 || e.Status == fasthttp.StatusServiceUnavailable || e.Status == fasthttp.StatusTooManyRequests {
		r.Header.Set(fasthttp.HeaderRetryAfter, seconds(e.RetryAfter))
	}
}

// keepBuffer is the largest buffer that is kept for a later request.
const keepBuffer = 16 << 10

func recycled(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}

// release gives back what the exchange holds of the engine: its slot.
func (x *exchange) release() {
	if x.slot {
		x.slot = false
		x.p.slots.free()
	}
}

const jsonType = "application/json"
