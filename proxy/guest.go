package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"golang.org/x/sys/unix"
)

// guestState is where a client of a loop is.
type guestState int

const (
	resting    guestState = iota // nothing of a request has come
	reading                      // a part of it has
	running                      // its pipeline runs
	receiving                    // a part of its body has to come
	held                         // it waits for its turn
	asking                       // a part of it is with the engine
	awaiting                     // all is, and no answer yet
	collecting                   // a part of the answer is here
	streaming                    // the answer is passed on as it comes
	writing                      // the whole answer is being taken by the client
	handed                       // a goroutine of its own serves it
	gone
)

// guest is a client's connection that a loop serves. All its methods run in the loop.
type guest struct {
	loop   *loop
	conn   *conn
	fd     int
	at     int32 // its socket's number
	state  guestState
	alarm  alarm
	doneBy time.Time // when the state has to be another; zero is never
	freeBy time.Time // when the client has to have taken what it was sent; zero if it has

	readable bool // something may be there to be read
	left     bool // the other end has closed, or sends nothing more
	closes   bool // after the answer

	in  []byte // what has come of a header
	out []byte // what the client has no room for

	queued int // pieces for it that go with the batch

	x    *exchange
	next handler // after the wait for its turn
	up   *upstream
	a    answerHead
	body body
	got  int // bytes of it
}

// adopt begins to serve a connection.
func (g *guest) adopt() {
	l := g.loop
	at, err := l.add(g.fd, g, edges|unix.EPOLLOUT)
	if err != nil {
		l.p.log.Zap().Warn(err.Error())
		g.end()
		return
	}
	g.at = at
	g.alarm = alarm{ring: g.timeUp, owner: g}
	g.by(time.Now().Add(l.p.cfg.ReadHeaderTimeout))
}

// by says when the state has to be another.
func (g *guest) by(t time.Time) {
	g.doneBy = t
	g.setAlarm()
}

func (g *guest) setAlarm() {
	t := g.doneBy
	if !g.freeBy.IsZero() && (t.IsZero() || g.freeBy.Before(t)) {
		t = g.freeBy
	}
	g.loop.alarms.put(&g.alarm, t)
}

// happened takes an event of the connection.
func (g *guest) happened(events uint32) {
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		g.left = true
	}
	if events&^unix.EPOLLOUT != 0 {
		g.readable = true
	}
	if len(g.out) > 0 && events&^unix.EPOLLIN != 0 {
		g.writeOn()
		g.goOn()
	}
	switch g.state {
	case resting, reading:
		g.read()
	case receiving:
		g.receive()
	case held, asking, awaiting, collecting, streaming:
		if g.left {
			g.cancel(api.FinishClientGone)
		}
	}
}

// goOn does what had to wait for the client's taking what it was sent.
func (g *guest) goOn() {
	if len(g.out) > 0 || g.queued > 0 {
		return
	}
	switch g.state {
	case streaming:
		g.hear()
	case writing:
		g.rest()
	}
}

// timeUp is called when the time for the state is.
func (g *guest) timeUp() {
	now := time.Now()
	switch {
	case !g.freeBy.IsZero() && !now.Before(g.freeBy):
		g.unwritable(errTookNothing)
		return
	case g.doneBy.IsZero() || now.Before(g.doneBy):
		g.setAlarm()
		return
	}
	switch g.state {
	case resting:
		g.endIdle()
	case writing:
		g.end()
	case reading:
		g.handOver(g.in) // which says that it came too slowly
	case receiving:
		g.unread(os.ErrDeadlineExceeded)
	case held:
		g.resume(g.next)
	case asking, awaiting, collecting, streaming:
		g.answered(os.ErrDeadlineExceeded)
	}
}

// read takes what has come of requests, and begins those whose header is whole.
func (g *guest) read() {
	l := g.loop
	for g.readable && (g.state == resting || g.state == reading) {
		n, err := readNow(g.fd, l.fromClient)
		switch {
		case errors.Is(err, errMore):
			g.readable = false
			return
		case err != nil && g.state == reading:
			g.handOver(g.in) // which says that its client left
			return
		case err != nil, g.state == resting && !g.begin():
			g.end()
			return
		}
		g.readable = n == len(l.fromClient) || g.left
		g.take(l.fromClient[:n])
	}
}

// begin notes a request's first byte. It reports false when a drain was quicker.
func (g *guest) begin() bool {
	c := g.conn
	c.since = g.loop.seen
	c.headBy = c.since.Add(g.loop.p.cfg.ReadHeaderTimeout)
	if c.phase.CompareAndSwap(int32(fresh), int32(active)) {
		c.headBy = g.doneBy // the time of the first one began with the connection
	} else if !c.phase.CompareAndSwap(int32(idle), int32(active)) {
		return false
	}
	g.state = reading
	return true
}

// take goes on with the request of which b has come now.
func (g *guest) take(b []byte) {
	if len(g.in) > 0 {
		g.in = append(g.in, b...)
		b = g.in
	}
	x, verdict := g.loop.parser.parse(g, b)
	switch verdict {
	case unusual:
		g.handOver(b)
	case partial:
		if len(g.in) == 0 {
			g.in = append(g.in, b...)
		}
		g.by(g.conn.headBy)
	case readable:
		g.run(x)
	}
}

// run sends a request on its way.
func (g *guest) run(x *exchange) {
	g.x, g.state = x, running
	g.conn.headBy = time.Time{}
	g.walk(g.loop.p.pipeline)
}

// awaitBody lets the rest of the body come, and then goes on with next.
func (g *guest) awaitBody(next handler) {
	x := g.x
	x.later, x.waited, g.next, g.state = true, true, next, receiving
	x.body = append(x.body[:0], x.held...)
	g.by(time.Now().Add(g.loop.p.cfg.ReadTimeout))
}

// receive takes what has come of the body, and not a byte more.
func (g *guest) receive() {
	x, l := g.x, g.loop
	for g.readable {
		missing := x.length - len(x.body)
		n, err := readNow(g.fd, l.fromClient[:min(missing, len(l.fromClient))])
		switch {
		case errors.Is(err, errMore):
			g.readable = false
			return
		case err != nil:
			g.unread(io.ErrUnexpectedEOF)
			return
		}
		x.body = append(x.body, l.fromClient[:n]...)
		if n == missing {
			x.held = x.body
			g.resume(g.next)
			return
		}
	}
}

// unread refuses a request whose body did not come.
func (g *guest) unread(err error) {
	g.x.unread = err
	g.resume(g.loop.p.refuse)
}

// walk runs a part of the pipeline, and sends the answer if it is known then. A fault
// in it is answered like on any other way.
func (g *guest) walk(way handler) {
	late := g.x.later // so that the stages before have returned
	g.x.later = false
	well := g.walked(way)
	g.in = shrunk(g.in)
	switch {
	case g.state == receiving:
		g.receive()
	case g.state == running && !g.x.later && (late || !well):
		g.conclude()
	case g.state == running && !g.x.later:
		g.answer()
	case g.left:
		g.cancel(api.FinishClientGone)
	}
}

// walked reports false if the way ended in a fault.
func (g *guest) walked(way handler) (well bool) {
	x := g.x
	defer func() {
		if fault := recover(); fault != nil {
			g.loop.p.logFault(x, fault)
			g.hangUpEngine()
			g.state, x.later, x.streaming = running, false, false
			x.release()
			x.fail(errInternal())
			x.ctx.SetConnectionClose()
		}
	}()
	way(x)
	return true
}

// hold lets the request wait for d, and then go on with next.
func (g *guest) hold(d time.Duration, next handler) {
	x := g.x
	x.later, x.waited, g.next, g.state = true, true, next, held
	if !x.whole { // the body is not to stay in the loop's buffer
		x.body = append(x.body[:0], x.held...)
		x.held = x.body
	}
	g.by(time.Now().Add(d))
}

// resume goes on with a request that had to wait for something.
func (g *guest) resume(way handler) {
	g.state, g.next = running, nil
	g.walk(way)
}

// cancel ends the request under way, if there is one.
func (g *guest) cancel(why api.Finish) {
	c := g.conn
	c.blame(why)
	switch g.state {
	case receiving:
		g.unread(io.ErrUnexpectedEOF)
	case held:
		if why == api.FinishDrained && g.x.stranger != keys.Known { // who would not have been let in
			g.resume(g.next)
			return
		}
		g.x.fail(g.loop.p.endedBy(c.detach(), nil))
		g.conclude()
	case asking, awaiting, collecting, streaming:
		g.answered(io.ErrUnexpectedEOF)
	}
}

// end closes the connection, whatever is under way.
func (g *guest) end() {
	if g.state == gone || g.state == handed {
		return
	}
	g.hangUpEngine()
	g.leaveLoop()
	g.state = gone
	_ = unix.Close(g.fd)
	p := g.loop.p
	p.conns.remove(g.conn)
	p.conns.serving.Done()
}

// endIdle closes the connection unless a request is under way, or has just come.
func (g *guest) endIdle() {
	if g.state == resting {
		g.readable = true
		g.read()
	}
	if g.state == resting && g.conn.startClosing() {
		g.end()
	}
}

// abort closes the connection in the midst of what is under way.
func (g *guest) abort() {
	switch g.state {
	case receiving, held, asking, awaiting, collecting, streaming:
		g.cancel(api.FinishDrained)
		g.loop.flush()
	}
	g.end()
}

// leaveLoop takes the connection out of the loop.
func (g *guest) leaveLoop() {
	l := g.loop
	l.alarms.drop(&g.alarm)
	if g.at > 0 {
		l.remove(g.at)
	}
	g.in, g.out, g.queued = nil, nil, 0
}

// failed ends a connection whose event could not be handled.
func (g *guest) failed(fault any) {
	if x := g.x; x != nil {
		g.loop.p.logFault(x, fault)
		x.finish = api.FinishError
		g.loop.p.record(x)
		g.x = nil
	}
	g.end()
}

var errTookNothing = fmt.Errorf("the client took nothing: %w", io.ErrClosedPipe)

func shrunk(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}
