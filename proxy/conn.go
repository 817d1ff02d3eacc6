package proxy

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/connwatch"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// phase is where a client connection is.
type phase int32

const (
	fresh   phase = iota // nothing came yet
	active               // a request is being read or answered
	idle                 // between two requests
	closing              // ours to close; no request may start
)

// conn is one client connection. fasthttp reads requests from it and writes
// answers to it; here it also knows how the request under way is to be ended from
// outside, and what fasthttp keeps to itself: when the first byte came, and how
// the request line ended.
type conn struct {
	net.Conn    // what is served
	p           *Proxy
	tcp         *net.TCPConn // what is watched
	ticket      connwatch.Ticket
	client      string // address, without the port
	addr        netip.Addr
	certificate *x509.Certificate // of the client, verified; nil without
	login       keys.Memory
	scrapes     bool      // on --metrics-listen
	lane        *guest    // of the loop that serves it; nil where a goroutine does
	before      []byte    // what the loop had read
	headBy      time.Time // when the header that it began with must have come; zero if none did
	counted     bool      // for --max-connections-per-address
	phase       atomic.Int32
	quiet       atomic.Int64 // since when no request is under way, in ns; of no meaning while one is
	closed      sync.Once
	linger      bool // the client may still be sending what nobody reads
	more        bool // the next write is followed by another at once
	held        *heldWrite

	// The request under way, as its own goroutine sees it.
	since    time.Time // its first byte
	line     lineCheck
	reading  deadline
	armed    time.Time // when the write deadline was last set
	now      time.Time // of the last write
	reads    int
	ended    bool // the client sends nothing more
	leftover bool // its first byte came behind the request before: pipelining

	mu    sync.Mutex
	up    *upstream     // that works on the request, to be closed to cancel it
	cause api.Finish    // why the request was ended from outside; "" if it was not
	wake  chan struct{} // ends a pause when the request is; nil before the first pause
}

func newConn(p *Proxy, tcp *net.TCPConn, scrapes bool) *conn {
	c := &conn{Conn: tcp, p: p, tcp: tcp, scrapes: scrapes}
	c.quiet.Store(time.Now().UnixNano())
	if remote, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		c.addr = remote.AddrPort().Addr().Unmap()
		c.client = c.addr.String()
	}
	return c
}

// connState is fasthttp's hook, called in the connection's own goroutine: at a
// request's first byte, and when its answer is written.
func connState(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case fasthttp.StateActive:
		if !c.headBy.IsZero() { // the loop saw the first byte
			c.readBy(c.headBy)
			c.headBy = time.Time{}
			return
		}
		c.since = time.Now()
		c.leftover = c.reads == 0
		if !c.phase.CompareAndSwap(int32(fresh), int32(active)) { // whose time began with the connection
			c.phase.CompareAndSwap(int32(idle), int32(active))
			c.readBy(c.since.Add(c.p.cfg.ReadHeaderTimeout))
		}
	case fasthttp.StateIdle:
		c.reads = 0
		c.line = lineCheck{}
		c.readBy(c.now.Add(c.p.cfg.IdleTimeout))
		c.quiet.Store(c.now.UnixNano())
		c.phase.CompareAndSwap(int32(active), int32(idle))
	}
}

func (c *conn) Read(b []byte) (int, error) {
	if n := copy(b, c.before); n > 0 {
		c.before = c.before[n:]
		c.reads++
		c.line.see(b[:n])
		return n, nil
	}
	if c.reads == 0 {
		runtime.Gosched() // as in receive: the next request may be near
	}
	n, err := c.Conn.Read(b)
	for n == 0 && isTimeout(err) && c.readOn() {
		n, err = c.Conn.Read(b)
	}
	if n > 0 {
		c.reads++
		c.line.see(b[:n])
	}
	c.ended = errors.Is(err, io.EOF)
	return n, err
}

// Write holds one write back when it is known that another follows, and sends both
// by one system call: fasthttp cuts an answer at the end of its small buffer.
func (c *conn) Write(b []byte) (int, error) {
	c.armWrite()
	if c.more && len(b) <= writeBuffer {
		c.more = false
		c.held = heldWrites.Get().(*heldWrite)
		c.held.n = copy(c.held.bytes[:], b)
		return len(b), nil
	}
	if c.held == nil {
		return c.Conn.Write(b)
	}
	h := c.held
	c.held = nil
	h.both = [2][]byte{h.bytes[:h.n], b}
	h.vector = h.both[:]
	_, err := h.vector.WriteTo(c.Conn)
	h.both = [2][]byte{}
	heldWrites.Put(h)
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// heldWrite is a write that waits for the one behind it.
type heldWrite struct {
	n      int
	bytes  [writeBuffer]byte
	both   [2][]byte
	vector net.Buffers
}

var heldWrites = sync.Pool{New: func() any { return new(heldWrite) }}

// attach lets the request be cancelled by closing u. It reports false when it was
// cancelled already.
func (c *conn) attach(u *upstream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != "" || phase(c.phase.Load()) == closing {
		return false
	}
	c.up = u
	return true
}

// detach ends that, and returns why the request was cancelled, if it was.
func (c *conn) detach() api.Finish {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = nil
	return c.cause
}

// cancel ends the request under way, if there is one: the engine sees its
// connection close and frees the request's slot.
func (c *conn) cancel(why api.Finish) {
	if c.onLane(func(g *guest) { g.cancel(why) }, func() { c.cancel(why) }) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == "" {
		c.cause = why
	}
	if c.up != nil {
		c.up.hangUp()
	}
	if c.wake != nil {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// blame says why the request is ended, if nothing else did before.
func (c *conn) blame(why api.Finish) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == "" {
		c.cause = why
	}
}

// pause lets the request wait for d, unless it is cancelled before, and returns why
// it was.
func (c *conn) pause(d time.Duration) api.Finish {
	c.mu.Lock()
	if cause := c.cause; cause != "" {
		c.mu.Unlock()
		return cause
	}
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
	}
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wake:
	}
	return c.detach()
}

// leave is called by the watcher when the client has left, or said that it sends
// nothing more, which cannot be told apart.
func (c *conn) leave() { c.cancel(api.FinishClientGone) }

// armWrite gives the client --write-timeout to read what is written, at least three
// quarters of it: it is not set for each write. fasthttp would set it for each
// answer, and for a stream only once.
func (c *conn) armWrite() {
	c.now = time.Now()
	timeout := c.p.cfg.WriteTimeout
	if c.now.Sub(c.armed) < timeout/4 {
		return
	}
	c.armed = c.now
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == "" {
		_ = c.Conn.SetWriteDeadline(c.now.Add(timeout))
	}
}

// SetReadDeadline is fasthttp's, before it reads a body.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readBy(t)
	return nil
}

// readBy says by when the client must have sent what is read next.
func (c *conn) readBy(t time.Time) {
	if c.reading.putOff(t) {
		_ = c.Conn.SetReadDeadline(t) // fails only on a closed connection, as the read will
	}
}

// readOn reports that the client has more time than the deadline that passed. One
// that is being cut off has not.
func (c *conn) readOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause == "" && c.reading.again() && c.Conn.SetReadDeadline(c.reading.set) == nil
}

// closeIdle closes the connection unless a request is under way or something has come
// since then, and reports whether it is closed.
func (c *conn) closeIdle(since time.Time) bool {
	if now := phase(c.phase.Load()); now == active || now != closing && c.quiet.Load() > since.UnixNano() {
		return false
	}
	if !c.onLane((*guest).endIdle, func() {}) && !c.unread() && c.startClosing() {
		c.hangUp()
	}
	return phase(c.phase.Load()) == closing
}

// startClosing reports that no request is under way, and that none may start.
func (c *conn) startClosing() bool {
	return c.phase.CompareAndSwap(int32(idle), int32(closing)) || c.phase.CompareAndSwap(int32(fresh), int32(closing))
}

// unread reports whether the client has sent what nobody has read yet: closing the
// connection now would be a reset, in place of the answer.
func (c *conn) unread() bool {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return n > 0
}

// hangUp closes the connection whatever is under way. Its goroutine sees that and
// does the rest.
func (c *conn) hangUp() {
	if !c.onLane((*guest).abort, c.hangUp) {
		_ = c.tcp.Close()
	}
}

// endBy says by when everything on the connection must have ended.
func (c *conn) endBy(t time.Time) {
	if !c.onLane(func(g *guest) { g.by(t) }, func() { c.endBy(t) }) {
		_ = c.Conn.SetDeadline(t)
	}
}

// lingerTime and lingerBytes bound what is read, and thrown away, after an answer
// to a request that was not read to its end. Without that the kernel would answer
// what still comes with a reset, which can overtake the answer.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 20
)

// Close closes the connection, once.
func (c *conn) Close() error {
	var err error
	c.closed.Do(func() {
		c.p.watcher.Forget(c.ticket)
		if c.linger {
			c.closeWrite()
			_ = c.tcp.SetReadDeadline(time.Now().Add(lingerTime))
			_, _ = io.CopyN(io.Discard, c.tcp, lingerBytes)
		}
		err = c.Conn.Close()
		c.p.conns.remove(c)
	})
	return err
}

// lineCheck looks at how the request line ended as it came, since fasthttp takes a
// bare LF there and tells nobody.
type lineCheck struct {
	length int  // of the line so far
	last   byte // of it
	done   bool
	bare   bool // an LF without CR was seen
}

func (l *lineCheck) see(b []byte) {
	for !l.done && len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.length += len(b)
			l.last = b[len(b)-1]
			return
		}
		if i > 0 {
			l.last = b[i-1]
		}
		l.length += i
		l.bare = l.bare || l.last != '\r'
		// Empty lines before the request line are allowed.
		l.done = l.length > 1 || l.last != '\r' && l.length > 0
		l.length, l.last = 0, 0
		b = b[i+1:]
	}
}

// isTimeout tells a deadline from other failures.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded)
}
