package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
)

// firstRead is how much room a body gets before it is known to come.
const firstRead = 64 << 10

// readBody reads the body, once nothing else speaks against the request: what can
// be refused without it costs neither its memory nor its time.
func (p *Proxy) readBody(x *exchange, next handler) {
	if e := checkHeaders(x); e != nil {
		x.fail(e)
		return
	}
	if x.hasBody() {
		if g := x.conn.lane; g != nil && len(x.held) < x.length {
			g.awaitBody(next)
			return
		}
		if err := x.read(int(p.cfg.MaxBody)); err != nil {
			x.unread = err
			p.refuseUnread(x, nil)
			return
		}
	}
	next(x)
}

// hasBody reports whether a body is read. An admin's order may go without one.
func (x *exchange) hasBody() bool {
	if x.route.admin {
		length := x.ctx.Request.Header.ContentLength()
		return (x.ctx.IsPost() || x.ctx.IsPut()) && (length > 0 || length == -1)
	}
	return x.ctx.IsPost()
}

// read takes the body in, up to limit bytes.
func (x *exchange) read(limit int) error {
	if x.conn.lane != nil {
		x.body, x.whole = append(x.body[:0], x.held...), true
		return nil
	}
	length := x.ctx.Request.Header.ContentLength()
	if length > limit {
		return fasthttp.ErrBodyTooLarge
	}
	from := x.ctx.RequestBodyStream()
	if from == nil {
		return nil // there is none
	}
	room := firstRead
	if length >= 0 {
		room = min(room, length+1)
	}
	if cap(x.body) < room {
		x.body = make([]byte, 0, room)
	}
	for {
		if len(x.body) == cap(x.body) {
			x.body = append(x.body, 0)[:len(x.body)]
		}
		n, err := from.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		switch {
		case len(x.body) > limit:
			return fasthttp.ErrBodyTooLarge
		case err == io.EOF && (len(x.body) < length || x.conn.ended):
			// fasthttp takes a client's leaving between two chunks for the last one.
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			x.whole = true
			return nil
		case err != nil:
			return err
		}
	}
}

// mayStillSend reports whether the client may be sending a body that nobody read.
func (x *exchange) mayStillSend() bool {
	length := x.ctx.Request.Header.ContentLength()
	return x.unread != nil || x.head.bad != "" || x.conn.leftover || !x.whole && (length > 0 || length == -1)
}

// agent is the opaque name of the agent that the client speaks for, if it gave one.
func (x *exchange) agent() []byte {
	if len(x.head.agent) > 0 {
		return x.head.agent
	}
	return x.head.session
}

// maxAgent bounds an agent's name.
const maxAgent = 256

// checkHeaders refuses what the engine could not take.
func checkHeaders(x *exchange) *api.Error {
	if len(x.agent()) > maxAgent {
		return &api.Error{Status: http.StatusBadRequest, Code: "invalid_header", Param: "X-Agent-ID",
			Message: fmt.Sprintf("the agent's name has %d bytes: at most %d", len(x.agent()), maxAgent)}
	}
	if !x.hasBody() {
		return nil
	}
	media, _, _ := bytes.Cut(x.head.contentType, []byte(";"))
	if !is(bytes.TrimSpace(media), jsonType) {
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Message: fmt.Sprintf("the body must be JSON: send Content-Type: application/json, not %s", brief(x.head.contentType))}
	}
	if len(x.head.contentEncoding) > 0 && !is(x.head.contentEncoding, "identity") {
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_content_encoding",
			Message: fmt.Sprintf("the body must not be compressed: Content-Encoding is %s", brief(x.head.contentEncoding))}
	}
	return nil
}
