package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
)

// refuseMalformed refuses what fasthttp would have forgiven. The connection is
// closed after it, since nobody can say where the next request begins.
func (p *Proxy) refuseMalformed(x *exchange, next handler) {
	bad := x.head.bad
	switch {
	case bad != "":
	case x.conn.line.bare:
		bad = "the request line does not end in CR LF"
	case x.conn.leftover:
		bad = "it came before the answer to the one before it: pipelining is not supported"
	default:
		next(x)
		return
	}
	x.refuseAndClose(errMalformed(bad))
}

// refuseAndClose answers and closes.
func (x *exchange) refuseAndClose(e *api.Error) {
	x.fail(e)
	x.ctx.SetConnectionClose()
}

// serveUnread is fasthttp's handler for what it could not read as a request.
func (p *Proxy) serveUnread(ctx *fasthttp.RequestCtx, err error) {
	c, ok := ctx.Conn().(*conn)
	if !ok || phase(c.phase.Load()) != active {
		_ = ctx.Conn().Close() // nothing came, so there is nothing to answer
		return
	}
	p.run(ctx, err, p.malformed)
}

// refuseUnread maps fasthttp's errors to answers.
func (p *Proxy) refuseUnread(x *exchange, _ handler) {
	err := x.unread
	var tooLong *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		x.refuseAndClose(&api.Error{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
			Message: fmt.Sprintf("the body is larger than --max-body=%s", p.cfg.MaxBody)})
	case errors.As(err, &tooLong):
		x.refuseAndClose(&api.Error{Status: http.StatusRequestHeaderFieldsTooLarge, Code: "headers_too_large",
			Message: fmt.Sprintf("request line and headers are larger than %d bytes", maxHeader)})
	case isTimeout(err):
		x.refuseAndClose(&api.Error{Status: http.StatusRequestTimeout, Code: "request_timeout",
			Message: fmt.Sprintf("the request came too slowly: --read-header-timeout=%s, --read-timeout=%s", p.cfg.ReadHeaderTimeout, p.cfg.ReadTimeout)})
	case isDeparture(err):
		x.fail(errClientGone())
	case x.head.bad != "":
		x.refuseAndClose(errMalformed(x.head.bad))
	default:
		x.refuseAndClose(errMalformed("it cannot be read as HTTP/1.1"))
	}
}

// isDeparture tells a client that left in the middle of its request from one that
// sent nonsense.
func isDeparture(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.As(err, &op)
}
