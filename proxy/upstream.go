package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer  = 16 << 10 // one read takes a usual answer whole
	eventBuffer = 2 << 10  // one read takes a usual event whole
	maxAnswer   = 64 << 10 // an answer's header line by line, and any one line
	sendAtOnce  = 64 << 10 // header and body up to this go out in one write
	keepRequest = 64 << 10 // a larger buffer is not kept
)

var (
	// errMore says that what was received does not suffice to go on: call fill.
	errMore = errors.New("more has to be received first")
	// errGarbage marks an answer that is no HTTP, or none of the engine's.
	errGarbage = errors.New("answer is garbled")
)

// upstream is one connection to the engine. It carries one request at a time.
// fasthttp's client is not used: it cannot be cancelled, and may send a POST twice.
type upstream struct {
	conn   *net.UnixConn // nil for one of a loop's
	reused bool          // it carried a request before
	since  time.Time     // when it became idle

	deadline deadline

	in   []byte // in[r:w] is received and not yet used
	r, w int
	out  []byte // the request being sent

	loop           *loop // whose it is; nil for one of a goroutine's
	fd             int   // of a loop's, and so are the following
	at             int32
	owner          *guest // whose request it works on
	readable, left bool

	raw  syscall.RawConn
	look func(uintptr)
	poll [1]unix.PollFd
	fit  bool
}

func newUpstream(c *net.UnixConn) (*upstream, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &upstream{conn: c, raw: raw, in: readBuffers.Get().(*[readBuffer]byte)[:]}
	u.look = u.lookAt
	return u, nil
}

// send writes the request in out and then body, and says how many bytes of both
// the kernel took.
func (u *upstream) send(body []byte) (int, error) {
	if len(u.out)+len(body) <= sendAtOnce {
		u.out = append(u.out, body...)
		body = nil
	}
	n, err := u.write(u.out)
	if err == nil && len(body) > 0 {
		var m int
		m, err = u.write(body)
		n += m
	}
	if cap(u.out) > keepRequest {
		u.out = nil
	}
	return n, err
}

// doneBy says by when the engine must have taken what is sent and sent what is read.
func (u *upstream) doneBy(t time.Time) {
	if u.deadline.putOff(t) {
		_ = u.conn.SetDeadline(t) // fails only on a closed connection, as its use will
	}
}

// goOn reports that there is more time than the deadline that passed.
func (u *upstream) goOn(err error) bool {
	return isTimeout(err) && u.deadline.again() && u.conn.SetDeadline(u.deadline.set) == nil
}

func (u *upstream) write(b []byte) (int, error) {
	n, err := u.conn.Write(b)
	for u.goOn(err) {
		var m int
		m, err = u.conn.Write(b[n:])
		n += m
	}
	return n, err
}

// fill waits for more bytes. It is the only place where an answer is waited for.
func (u *upstream) fill() error {
	if u.r == u.w {
		u.r, u.w = 0, 0
	}
	if u.w == len(u.in) {
		if err := u.makeRoom(); err != nil {
			return err
		}
	}
	n, err := u.conn.Read(u.in[u.w:])
	for n == 0 && u.goOn(err) {
		n, err = u.conn.Read(u.in[u.w:])
	}
	u.w += n
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (u *upstream) makeRoom() error {
	if u.r > 0 {
		u.w = copy(u.in, u.in[u.r:u.w])
		u.r = 0
		return nil
	}
	if len(u.in) >= maxAnswer {
		return fmt.Errorf("%w: a line has more than %d bytes", errGarbage, maxAnswer)
	}
	u.in = append(u.in, make([]byte, len(u.in))...)
	return nil
}

// readBuffers are those that streams do without, of which there may be thousands.
var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// narrow makes room for events instead of for whole answers, and widen undoes it.
func (u *upstream) narrow() { u.resize(make([]byte, eventBuffer)) }

func (u *upstream) widen() {
	if len(u.in) < readBuffer {
		u.resize(readBuffers.Get().(*[readBuffer]byte)[:])
	}
}

// resize moves what is not used yet to another buffer, if that can hold it.
func (u *upstream) resize(to []byte) {
	if u.w-u.r > len(to) {
		return
	}
	u.w = copy(to, u.in[u.r:u.w])
	u.r = 0
	if len(u.in) == readBuffer {
		readBuffers.Put((*[readBuffer]byte)(u.in))
	}
	u.in = to
}

// line returns the next line without its CR LF, or errMore. It is good until the
// next fill.
func (u *upstream) line() ([]byte, error) {
	i := bytes.IndexByte(u.in[u.r:u.w], '\n')
	if i < 0 {
		return nil, errMore
	}
	line := u.in[u.r : u.r+i]
	u.r += i + 1
	if i == 0 || line[i-1] != '\r' {
		return nil, fmt.Errorf("%w: a line does not end in CR LF", errGarbage)
	}
	return line[:i-1], nil
}

// hangUp closes the connection, by which the engine learns that nobody waits for
// its answer any more.
func (u *upstream) hangUp() {
	if u.loop != nil {
		u.loop.discard(u)
		return
	}
	_ = u.conn.Close()
}

// putBack lets another request use the connection.
func (u *upstream) putBack(p *Proxy, now time.Time) {
	if u.loop != nil {
		u.loop.keep(u, now)
		return
	}
	u.widen()
	p.pool.give(u, now)
}

// clean reports whether nothing was received beyond the answer.
func (u *upstream) clean() bool { return u.r == u.w }

// get fetches a small page of the engine's, whole.
func (u *upstream) get(path string, deadline time.Time, limit int) ([]byte, error) {
	u.doneBy(deadline)
	u.out = append(append(append(u.out[:0], "GET "...), path...), " HTTP/1.1\r\nHost: engine\r\n\r\n"...)
	if _, err := u.send(nil); err != nil {
		return nil, fmt.Errorf("cannot ask the engine for %s: %w", path, err)
	}
	var a answerHead
	if err := a.read(u, nil); err != nil {
		return nil, fmt.Errorf("cannot read the engine's answer to %s: %w", path, err)
	}
	var page []byte
	b := newBody(u, &a, nil)
	err := b.readAll(limit, func(piece []byte) { page = append(page, piece...) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the engine's answer to %s: %w", path, err)
	case a.status != 200:
		return nil, fmt.Errorf("the engine answered %s with status %d", path, a.status)
	case a.close || !u.clean():
		err = u.conn.Close() // the next use opens another
	}
	return page, err
}
