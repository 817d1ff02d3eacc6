package proxy

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"
)

// loopRequest is the largest request, header and body, that a loop takes.
const loopRequest = 64 << 10

// parser makes requests out of bytes that are there, by fasthttp's reader of headers.
// It takes the usual ones alone: HTTP/1.1, one at a time, with a body whose length is
// told, or with none. For all others it is as if it had not looked.
type parser struct {
	l        *loop
	source   bytes.Reader
	in       *bufio.Reader
	contexts []*fasthttp.RequestCtx // to be used again
}

// parsed is what the parser makes of some bytes.
type parsed int

const (
	unusual  parsed = iota // for a goroutine of its own to read from its start
	partial                // more of the header has to come
	readable               // the header is whole; of the body some may have to come
)

// keepContexts is how many contexts a loop keeps for later requests.
const keepContexts = 256

func (r *parser) init(l *loop) {
	r.l = l
	r.in = bufio.NewReaderSize(&r.source, maxHeader)
}

func (r *parser) context() *fasthttp.RequestCtx {
	if n := len(r.contexts); n > 0 {
		ctx := r.contexts[n-1]
		r.contexts[n-1] = nil
		r.contexts = r.contexts[:n-1]
		return ctx
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Init2(nil, silence{}, false)
	ctx.Request.Header.DisableNormalizing()
	ctx.Response.Header.DisableNormalizing()
	return ctx
}

func (r *parser) recycle(ctx *fasthttp.RequestCtx) {
	if len(r.contexts) >= keepContexts {
		return
	}
	ctx.Request.Reset()
	ctx.Response.Reset()
	ctx.Request.Header.DisableNormalizing() // which Reset undoes
	ctx.Response.Header.DisableNormalizing()
	r.contexts = append(r.contexts, ctx)
}

// parse looks at all that has come of a request. Its pipeline can begin when the
// header is there.
func (r *parser) parse(g *guest, b []byte) (*exchange, parsed) {
	end := bytes.Index(b, headerEnd)
	switch {
	case b[0] < 'A' || b[0] > 'Z' || end < 0 && len(b) >= maxHeader || end+len(headerEnd) > maxHeader:
		return nil, unusual
	case end < 0:
		return nil, partial
	}
	end += len(headerEnd)
	if i := bytes.IndexByte(b, '\n'); b[i-1] != '\r' {
		return nil, unusual
	}
	ctx := r.context()
	r.source.Reset(b[:end])
	r.in.Reset(&r.source)
	if ctx.Request.Header.Read(r.in) != nil || r.in.Buffered()+r.source.Len() > 0 {
		r.recycle(ctx)
		return nil, unusual
	}
	x := r.l.p.beginOn(ctx, g.conn)
	x.length = x.usualLength()
	if x.length < 0 || end+x.length > loopRequest || end+x.length < len(b) { // the last is pipelining
		r.forget(x)
		return nil, unusual
	}
	x.held = b[end:]
	return x, readable
}

var headerEnd = []byte("\r\n\r\n")

// forget gives back a request that is not to be answered here.
func (r *parser) forget(x *exchange) {
	ctx := x.ctx
	r.l.p.end(x)
	r.recycle(ctx)
}

// usualLength is the length of the body of a request that a loop can answer; below
// 0 it is none.
func (x *exchange) usualLength() int {
	const none = -1
	h, p := &x.ctx.Request.Header, x.p
	target := h.RequestURI()
	switch {
	case x.head.bad != "" || !h.IsHTTP11() || x.head.codings > 0 || x.ctx.Request.MayContinue():
		return none
	case len(target) == 0 || target[0] != '/' || len(target) > 1 && target[1] == '/' || !plain(target) || x.head.hosts != 1 || !plainHost(h.Host()):
		return none
	case x.route != nil && (x.route.admin || x.route.template == metricsPath):
		return none // they wait for others
	case len(x.head.te) > 0:
		return none // who takes trailers gets a stream's times in one
	case p.door.issuer != nil && looksLikeToken(x.head.presented()):
		return none // its keys may have to be fetched
	case x.head.lengths == 0:
		return 0
	case !x.ctx.IsPost():
		return none
	}
	if length := h.ContentLength(); int64(length) <= int64(p.cfg.MaxBody) {
		return length
	}
	return none
}

// plain reports whether a target holds nothing that a parser could stumble over.
func plain(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// plainHost reports whether a host is a name or an address of IPv4, and maybe a port.
func plainHost(host []byte) bool {
	name, port, _ := bytes.Cut(host, []byte(":"))
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	for _, c := range name {
		if !tokenBytes[c] || c == '\'' || c == '`' || c == '|' || c == '^' || c == '#' || c == '%' {
			return false
		}
	}
	return len(name) > 0
}
