package proxy

import (
	"errors"
	"time"
)

// A loop writes at the end of a batch of events: all requests to the engine behind one
// another, and then all answers to clients. Who sleeps is woken by the first write and
// finds the others when it comes to read. Written one by one, between the work for other
// requests, most would find a reader that has gone to sleep again, and waking it costs
// more than the write. A batch is what one look at the epoll brought, and no more than
// this, so that what is ready does not wait for long.
const (
	batchEvents = 64
	batchBytes  = 64 << 10
)

// question is a request that is to be sent to the engine: l.request[from:to].
type question struct {
	g        *guest
	u        *upstream
	from, to int
}

// piece is what a client is to be sent: l.pending[from:to].
type piece struct {
	g        *guest
	from, to int
}

// flush ends the batch.
func (l *loop) flush() {
	l.batched = 0
	for len(l.questions)+len(l.pieces) > 0 { // an answer that is out may let the next request begin
		for i := 0; i < len(l.questions); i++ {
			q := l.questions[i]
			l.send(q.g, q.u, l.request[q.from:q.to])
		}
		clear(l.questions)
		l.questions, l.request = l.questions[:0], trimmed(l.request)
		for i := 0; i < len(l.pieces); i++ {
			p := l.pieces[i]
			l.tell(p.g, l.pending[p.from:p.to])
		}
		clear(l.pieces)
		l.pieces, l.pending, l.begun = l.pieces[:0], trimmed(l.pending), 0
	}
}

// send sends a request to the engine, unless it has ended meanwhile.
func (l *loop) send(g *guest, u *upstream, request []byte) {
	defer l.recovered(g)
	if g.up == u && g.state == asking && u.fd >= 0 {
		g.send(request)
	}
}

// tell sends a client a piece, and goes on with it.
func (l *loop) tell(g *guest, b []byte) {
	defer l.recovered(g)
	if g.queued == 0 {
		return // it is gone
	}
	g.queued--
	if len(g.out) > 0 { // since the piece before
		g.out = append(g.out, b...)
	} else {
		g.write(b)
	}
	g.goOn()
}

// append adds to what the client is to be sent.
func (g *guest) append(b []byte) {
	if len(g.out) > 0 {
		g.out = append(g.out, b...)
		return
	}
	g.loop.pending = append(g.loop.pending, b...)
}

// push has it sent with the batch.
func (g *guest) push() {
	l := g.loop
	if from := l.begun; len(l.pending) > from {
		l.begun = len(l.pending)
		l.pieces = append(l.pieces, piece{g, from, l.begun})
		g.queued++
	}
}

// write sends it. What finds no room waits with the client, which has --write-timeout to
// take it; until then nothing more is received for it, so that what waits is no more than
// one read of the engine's connection brought.
func (g *guest) write(b []byte) {
	n, err := writeAll(g.fd, b)
	if err != nil {
		g.out = nil
		g.unwritable(err)
		return
	}
	if n < len(b) {
		g.out = append([]byte(nil), b[n:]...)
		g.freeBy = time.Now().Add(g.loop.p.cfg.WriteTimeout)
		g.setAlarm()
	}
}

// writeOn sends what waited for room.
func (g *guest) writeOn() {
	n, err := writeAll(g.fd, g.out)
	if err != nil {
		g.out = nil
		g.unwritable(err)
		return
	}
	if g.out = g.out[n:]; len(g.out) == 0 {
		g.out, g.freeBy = nil, time.Time{}
		g.setAlarm()
	}
}

// writeAll writes what finds room, and says how much that was.
func writeAll(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := writeNow(fd, b[n:])
		n += m
		if errors.Is(err, errMore) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// trimmed empties a buffer of the loop, and lets one go that a large answer made.
func trimmed(b []byte) []byte {
	if cap(b) > loopKeep {
		return nil
	}
	return b[:0]
}
