package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// ask has the request sent to the engine, with those of other clients.
func (g *guest) ask(x *exchange) {
	l := g.loop
	u := g.engine()
	if u == nil {
		return
	}
	x.later = true
	g.state = asking
	g.by(x.start.Add(l.p.cfg.RequestTimeout + deadlineGrace))
	from := len(l.request)
	l.request = append(l.p.appendRequest(l.request, x), x.body...)
	l.questions = append(l.questions, question{g, u, from, len(l.request)})
}

// engine takes a connection to the engine. Without one it has the request wait, or be
// refused, and returns nil.
func (g *guest) engine() *upstream {
	l, x := g.loop, g.x
	u, err := l.engine()
	switch {
	case x.mayDialAgain(err):
		g.hold(backlogPause, func(x *exchange) { l.p.forward(x, nil) })
		return nil
	case err != nil:
		x.fail(l.p.cannotDial(err))
		return nil
	}
	g.up, u.owner = u, g
	return u
}

// send sends the request. It is tried again on a new connection only if the kernel took
// no byte of it: a POST is never sent twice.
func (g *guest) send(b []byte) {
	u := g.up
	n, err := writeNow(u.fd, b)
	for err != nil && !errors.Is(err, errMore) && u.reused {
		g.up = nil
		g.loop.discard(u)
		if u = g.engine(); u == nil {
			if g.state != held {
				g.conclude()
			}
			return
		}
		n, err = writeNow(u.fd, b)
	}
	switch {
	case err != nil && !errors.Is(err, errMore):
	case n == len(b):
		g.x.sent = g.x.now()
		g.state = awaiting
		if u.readable { // whatever it is
			g.hear()
		}
		return
	default:
		u.out = append(u.out[:0], b[n:]...)
		err = g.loop.change(u.fd, u.at, edges|unix.EPOLLOUT)
	}
	if err != nil {
		g.answered(err)
	}
}

// askOn sends more of a request for which there was no room.
func (g *guest) askOn() {
	u := g.up
	for len(u.out) > 0 {
		n, err := writeNow(u.fd, u.out)
		if errors.Is(err, errMore) {
			return
		}
		if err != nil {
			g.answered(err)
			return
		}
		u.out = u.out[n:]
	}
	u.out = nil
	if err := g.loop.change(u.fd, u.at, edges); err != nil {
		g.answered(err)
		return
	}
	g.x.sent = g.x.now()
	g.state = awaiting
	g.hear()
}

// happened takes an event of a connection to the engine.
func (u *upstream) happened(events uint32) {
	u.readable = true
	u.left = u.left || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	g := u.owner
	switch {
	case g == nil: // it rested, and was closed or says what nobody asked for
		u.loop.discard(u)
	case g.state == asking && len(u.out) == 0: // and goes with the batch
	case g.state == asking:
		g.askOn()
	case len(g.out) == 0 && g.queued == 0:
		g.hear()
	}
}

// hear goes on with the answer for as long as there is something of it and the client
// takes it.
func (g *guest) hear() {
	for g.up != nil {
		err := g.follow()
		if errors.Is(err, errMore) {
			g.push()
			if len(g.out) > 0 || g.queued > 0 || g.up == nil {
				break
			}
			if err = g.up.receive(); err == nil {
				continue
			}
			if errors.Is(err, errMore) {
				break
			}
		}
		g.answered(err)
	}
	if g.up != nil {
		g.up.settle()
	}
}

// follow takes what has been received: errMore when that is used up, io.EOF when the
// answer has ended.
func (g *guest) follow() error {
	x, u := g.x, g.up
	if g.state == awaiting {
		if !wholeHead(u.in[u.r:u.w]) {
			return errMore
		}
		if err := g.a.read(u, x); err != nil {
			return err
		}
		x.ctx.Response.SetStatusCode(g.a.status)
		if g.a.sse {
			g.stream()
		} else {
			g.body, g.got, g.state = newBody(u, &g.a, &x.out), 0, collecting
		}
	}
	if g.state == streaming {
		return x.stream.pass(g)
	}
	for {
		piece, err := g.body.next()
		if err != nil {
			return err
		}
		if g.got += len(piece); g.got > maxJSONAnswer {
			return fmt.Errorf("%w: its body has more than %d bytes", errGarbage, maxJSONAnswer)
		}
		if int64(len(piece)) == g.a.length {
			x.ctx.Response.SetBodyRaw(piece) // and it is sent before anything else is received
		} else {
			x.ctx.Response.AppendBody(piece)
		}
	}
}

// wholeHead reports whether a status that is final and its headers are there.
func wholeHead(b []byte) bool {
	for {
		i := bytes.Index(b, headerEnd)
		if i < 0 {
			return false
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 1")) {
			return true
		}
		b = b[i+len(headerEnd):]
	}
}

// stream begins to pass on a stream. The header goes out with the first event, or at
// once if none came with it: a client sees that it was admitted before the first token.
func (g *guest) stream() {
	x, p := g.x, g.loop.p
	g.state = streaming
	x.giveHeaders(x.lines)
	x.stream.begin(x, g.up, &g.a)
	p.tellOrigin(x)
	p.respond(x)
	h := &x.ctx.Response.Header
	if g.closes = h.ConnectionClose() || x.goodbye; g.closes {
		h.SetConnectionClose()
	}
	h.SetContentLength(-1)
	g.appendHead(x)
}

// answered ends the engine's part in the request; err says how the answer ended, which
// was to its end if it is io.EOF.
func (g *guest) answered(err error) {
	x, p, u := g.x, g.loop.p, g.up
	if g.state == streaming {
		g.streamed(err)
		return
	}
	if errors.Is(err, io.EOF) {
		if x.asIs = g.a.status == fasthttp.StatusOK && g.a.types == 1 && x.isPlain(); !x.asIs {
			x.giveHeaders(x.lines)
		}
		p.accept(x, u, &g.a)
	} else {
		p.abandon(x, u, err)
	}
	g.up = nil
	g.conclude()
}

// streamed ends a stream.
func (g *guest) streamed(err error) {
	x := g.x
	err = x.stream.end(g, err)
	g.up = nil
	g.forgetExchange()
	if err != nil {
		g.end()
		return
	}
	g.state = writing
	g.by(time.Time{})
	g.append(lastChunk)
	g.push()
	g.goOn()
}

// unwritable ends what cannot be sent to the client any more.
func (g *guest) unwritable(err error) {
	if g.state == streaming {
		_ = g.x.stream.leave(err)
		g.up = nil
		g.forgetExchange()
	}
	g.end()
}

// hangUpEngine ends the engine's part in the request, if it has one.
func (g *guest) hangUpEngine() {
	if g.up != nil {
		g.up.hangUp()
		g.up = nil
	}
}

// engine returns a connection to the engine: one that rests, or a new one. Of one that
// the engine closed while it rested an event told.
func (l *loop) engine() (*upstream, error) {
	if n := len(l.idle); n > 0 {
		u := l.idle[n-1]
		l.idle[n-1] = nil
		l.idle = l.idle[:n-1]
		u.reused = true
		return u, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEngineAway, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: l.p.pool.path}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%w: connect %s: %w", errEngineAway, l.p.pool.path, err)
	}
	u := &upstream{loop: l, fd: fd}
	if u.at, err = l.add(fd, u, edges); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return u, nil
}

// keep takes a connection back whose answer was read to its end.
func (l *loop) keep(u *upstream, now time.Time) {
	u.owner, u.since = nil, now
	u.in, u.r, u.w = nil, 0, 0
	if u.left || len(l.idle) >= l.p.pool.most {
		l.discard(u)
		return
	}
	l.idle = append(l.idle, u)
}

// discard closes a connection to the engine.
func (l *loop) discard(u *upstream) {
	if u.fd < 0 {
		return
	}
	if u.owner == nil {
		if i := slices.Index(l.idle, u); i >= 0 {
			l.idle = slices.Delete(l.idle, i, i+1)
		}
	}
	l.remove(u.at)
	_ = unix.Close(u.fd)
	u.fd = -1
}

// closeOld closes what rested for longer than most requests are apart.
func (l *loop) closeOld() {
	limit := time.Now().Add(-l.p.cfg.IdleTimeout)
	for len(l.idle) > 0 && l.idle[0].since.Before(limit) {
		l.discard(l.idle[0])
	}
}

// receive reads what is there, without waiting: errMore if nothing is.
func (u *upstream) receive() error {
	if !u.readable {
		return errMore
	}
	if u.r == u.w {
		u.in, u.r, u.w = u.loop.fromEngine, 0, 0
		if u.owner.state == streaming { // which may have to wait with the client
			u.in = u.in[:streamRead]
		}
	}
	if u.w == len(u.in) {
		if err := u.makeRoom(); err != nil {
			return err
		}
	}
	n, err := readNow(u.fd, u.in[u.w:])
	switch {
	case errors.Is(err, errMore):
		u.readable = false
		return err
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	u.readable = u.w+n == len(u.in) || u.left
	u.w += n
	return nil
}

// settle moves what was not used yet out of the loop's buffer.
func (u *upstream) settle() {
	switch {
	case u.r == u.w:
		u.in, u.r, u.w = nil, 0, 0
	case &u.in[0] == &u.loop.fromEngine[0]:
		rest := make([]byte, max(eventBuffer, 2*(u.w-u.r)))
		u.w = copy(rest, u.in[u.r:u.w])
		u.r, u.in = 0, rest
	}
}

var lastChunk = []byte("0\r\n\r\n")

// Write sends a piece of a stream as one chunk.
func (g *guest) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	g.append(appendChunkSize(g.loop.chunk[:0], len(b)))
	g.append(b)
	g.append(headerEnd[:2])
	return len(b), nil
}

func appendChunkSize(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 0xf {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&0xf])
	}
	return append(b, '\r', '\n')
}
