package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// loopRequest is the largest request, header and body, that a loop takes.
const loopRequest = 64 << 10

// parser makes requests out of bytes that are there. It takes the usual ones alone:
// HTTP/1.1, one at a time, with a body whose length is told, or with none. For all
// others, and those that are in doubt, it is as if it had not looked: fasthttp judges.
type parser struct {
	l        *loop
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
	ctx.Response.Reset()
	ctx.Response.Header.DisableNormalizing() // which Reset undoes
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
	x := r.l.p.beginOn(r.context(), g.conn)
	x.raw = append(x.raw, b[:end]...) // b is the loop's
	if x.length = -1; x.readHead() {
		x.length = x.usualLength()
	}
	if x.length < 0 || end+x.length > loopRequest || end+x.length < len(b) { // the last is pipelining
		r.forget(x)
		return nil, unusual
	}
	x.held = b[end:]
	return x, readable
}

// readHead reads the request line and the headers, and reports false if the line is none
// of HTTP/1.1 for a path.
func (x *exchange) readHead() bool {
	const version = " HTTP/1.1"
	end := bytes.IndexByte(x.raw, '\n')
	line, crlf := bytes.CutSuffix(x.raw[:end], []byte("\r"))
	line, newest := bytes.CutSuffix(line, []byte(version))
	method, target, found := bytes.Cut(line, []byte(" "))
	if !crlf || !newest || !found || len(target) == 0 || target[0] != '/' || !isUpper(method) {
		return false
	}
	x.target = target
	x.ctx.Request.Header.SetMethodBytes(method)
	x.look(target, x.raw[end+1:])
	return true
}

// isUpper reports that a method is of capital letters, as all that we know are.
func isUpper(method []byte) bool {
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(method) > 0
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
	h, p, target := &x.head, x.p, x.target
	switch {
	case h.bad != "" || h.codings > 0 || h.expect != nil:
		return none
	case len(target) > 1 && target[1] == '/' || !plain(target) || h.hosts != 1 || !plainHost(h.host):
		return none
	case h.connections > 0 && !x.readConnection():
		return none
	case x.route != nil && (x.route.admin || x.route.template == metricsPath):
		return none // they wait for others
	case len(h.te) > 0:
		return none // who takes trailers gets a stream's times in one
	case p.door.issuer != nil && looksLikeToken(h.presented()):
		return none // its keys may have to be fetched
	case h.lengths == 0:
		return 0
	case !x.ctx.IsPost():
		return none
	}
	if length, ok := parseCount(h.length); ok && length <= min(loopRequest, int64(p.cfg.MaxBody)) {
		return int(length)
	}
	return none
}

// readConnection takes the two words that say whether the connection is kept, and
// reports false for anything else.
func (x *exchange) readConnection() bool {
	x.goodbye = is(x.head.connection, "close")
	return x.head.connections == 1 && (x.goodbye || is(x.head.connection, "keep-alive"))
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
