package proxy

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// conclude does what the pipeline's stages do after a request that was answered
// after they had returned, and sends the answer.
func (g *guest) conclude() {
	x, p := g.x, g.loop.p
	x.later = false
	p.tellOrigin(x)
	p.observed(x)
	p.respond(x)
	g.answer()
}

// answer sends the whole answer.
func (g *guest) answer() {
	x := g.x
	g.state = writing
	if !x.whole && len(x.held) < x.length { // nobody waits for the rest of the body
		x.ctx.SetConnectionClose()
		g.readable = true
	}
	g.closes = x.ctx.Response.ConnectionClose() || x.goodbye
	if g.closes {
		x.ctx.Response.Header.SetConnectionClose()
	}
	if x.asIs {
		g.serializeAsIs(x)
	} else {
		g.serialize(x)
	}
	g.forgetExchange()
	g.by(time.Time{})
	g.push()
	g.goOn()
}

func (g *guest) forgetExchange() {
	x := g.x
	g.x = nil
	g.loop.parser.forget(x)
}

// rest ends a request whose answer the client has, and waits for the next one.
func (g *guest) rest() {
	c := g.conn
	g.state = resting
	now := g.loop.seen
	c.quiet.Store(now.UnixNano())
	if g.closes || c.detach() != "" || !c.phase.CompareAndSwap(int32(active), int32(idle)) {
		g.finishUp()
		return
	}
	g.by(now.Add(g.loop.p.cfg.IdleTimeout))
	g.read()
}

// finishUp closes the connection after an answer.
func (g *guest) finishUp() {
	if g.readable { // the kernel would answer what was not read with a reset
		g.conn.linger = true
		g.handOver(nil)
		return
	}
	g.end()
}

// serialize writes a whole answer as fasthttp does, for the client to be sent.
func (g *guest) serialize(x *exchange) {
	r := &x.ctx.Response
	body, status := r.Body(), r.StatusCode()
	bodiless := x.ctx.IsHead() || status < 200 || status == fasthttp.StatusNoContent || status == fasthttp.StatusNotModified
	if !bodiless || len(body) > 0 {
		r.Header.SetContentLength(len(body))
	}
	g.appendHead(x)
	if !bodiless {
		g.append(body)
	}
}

// isPlain reports that the answer needs no header that depends on who asks.
func (x *exchange) isPlain() bool {
	return x.conn.lane != nil && len(x.p.origins) == 0 && !x.ctx.IsHead()
}

// serializeAsIs writes an answer, good and with a body, to whose headers nothing is added
// but what all answers have, without a list of them.
func (g *guest) serializeAsIs(x *exchange) {
	body := x.ctx.Response.Body()
	l := g.loop
	b := append(l.pending, "HTTP/1.1 200 OK\r\nDate: "...)
	b = append(append(b, l.date...), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	b = append(append(b, x.lines...), x.told...)
	if g.closes {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(append(b, "\r\n"...), body...)
	if l.pending = b; len(g.out) > 0 { // which waits for the client to take what it has
		g.out, l.pending = append(g.out, b[l.begun:]...), b[:l.begun]
	}
}

// appendHead sends the status and the headers: fasthttp's, and behind them those of
// every answer.
func (g *guest) appendHead(x *exchange) {
	head := x.ctx.Response.Header.Header()
	g.append(head[:len(head)-len("\r\n")])
	g.append(x.told)
	g.append(headerEnd[:2])
}
