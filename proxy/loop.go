package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Buffers of a loop. All its connections share them, since it handles one event at
// a time; what is left over after an event moves to a buffer of the connection.
const (
	loopRead     = 64 << 10 // one read takes at most this
	streamRead   = 8 << 10  // and of a stream this
	loopKeep     = 256 << 10
	eventsAtOnce = 256
	yieldAfter   = 512 // events: long before the scheduler's watch interrupts a goroutine that does not
)

// loop serves client connections, and its own connections to the engine, by one
// epoll in one goroutine: a request costs a read and a write on either side and its
// share of one epoll_wait, and no other goroutine has to be woken for it. What is
// unusual is handed over to a goroutine of its own (see handover).
type loop struct {
	p      *Proxy
	epoll  int
	file   *os.File // the same, in the runtime's own poller: waiting blocks no thread
	raw    syscall.RawConn
	wakeFD int // an eventfd: something is in the inbox

	events  [eventsAtOnce]unix.EpollEvent
	ready   int                // of events
	handled int                // since other goroutines had their turn
	looks   func(uintptr) bool // look, made once
	sockets []socket
	unused  []int32 // of sockets
	alarms  alarms
	seen    time.Time // when the events were
	armed   time.Time // when the wait for events ends by itself; zero is never
	passed  bool      // it did

	fromClient, fromEngine []byte
	pending, request       []byte // see flush
	begun                  int    // where what is pending and no piece yet begins
	questions              []question
	pieces                 []piece
	batched                int // events
	chunk                  [20]byte
	date                   []byte // of answers
	parser                 parser
	idle                   []*upstream // the last one was used last

	mu      sync.Mutex
	inbox   []func()
	stopped bool
	done    sync.WaitGroup
}

// sink takes the events of a descriptor.
type sink interface{ happened(events uint32) }

// socket is what an event's number stands for. The generation tells an event that was
// on its way when its descriptor was closed from one of a later descriptor.
type socket struct {
	to         sink
	generation int32
}

func newLoop(p *Proxy) (*loop, error) {
	l := &loop{p: p, fromClient: make([]byte, loopRead), fromEngine: make([]byte, loopRead)}
	l.looks = l.look
	l.parser.l = l
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot serve connections: epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot serve connections: %w", err), unix.Close(fd))
	}
	l.epoll, l.file = fd, os.NewFile(uintptr(fd), "loop")
	if l.raw, err = l.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot serve connections: %w", err), l.file.Close())
	}
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot serve connections: eventfd: %w", err), l.file.Close())
	}
	if _, err := l.add(l.wakeFD, l, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, unix.Close(l.wakeFD), l.file.Close())
	}
	l.done.Go(l.run)
	return l, nil
}

// post has the loop call f, and reports false when the loop has ended.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.inbox = append(l.inbox, f)
	if len(l.inbox) == 1 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(l.wakeFD, one[:]) // fails only when the loop is being woken already
	}
	return true
}

// happened empties the inbox.
func (l *loop) happened(uint32) {
	var count [8]byte
	_, _ = unix.Read(l.wakeFD, count[:])
	l.mu.Lock()
	calls := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range calls {
		l.flush()
		f()
	}
}

// close ends the loop, whose clients have all left.
func (l *loop) close() error {
	l.post(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped = true
	})
	l.done.Wait()
	for len(l.idle) > 0 {
		l.discard(l.idle[len(l.idle)-1])
	}
	return errors.Join(unix.Close(l.wakeFD), l.file.Close())
}

func (l *loop) run() {
	housekeeping := &alarm{}
	housekeeping.ring = func() {
		l.closeOld()
		l.date = fasthttp.AppendHTTPDate(l.date[:0], time.Now())
		l.alarms.put(housekeeping, time.Now().Add(time.Second))
	}
	housekeeping.ring()
	for !l.ended() {
		if l.wait() != nil {
			return
		}
		l.seen = time.Now()
		if l.handled += l.ready; l.handled >= yieldAfter {
			l.handled = 0
			runtime.Gosched()
		}
		for i := range l.ready {
			e := &l.events[i]
			if s := &l.sockets[e.Fd]; s.generation == e.Pad && s.to != nil {
				l.handle(s.to, e.Events)
			}
			if l.batched++; l.batched >= batchEvents || len(l.pending)+len(l.request) > batchBytes {
				l.flush()
			}
		}
		for a := l.alarms.due(l.seen); a != nil; a = l.alarms.due(l.seen) {
			l.guard(a.owner, a.ring)
		}
		l.flush()
	}
}

func (l *loop) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// handle passes an event on. A fault in one request does not end the process.
func (l *loop) handle(to sink, events uint32) {
	defer l.recovered(to)
	to.happened(events)
}

func (l *loop) guard(owner *guest, f func()) {
	defer l.recovered(owner)
	f()
}

func (l *loop) recovered(in sink) {
	fault := recover()
	if fault == nil {
		return
	}
	l.pending = l.pending[:l.begun]
	if u, ok := in.(*upstream); ok {
		in = u.owner
	}
	if g, ok := in.(*guest); ok && g != nil {
		g.failed(fault)
		return
	}
	l.p.log.Zap().Error("an event failed in the proxy", zap.String("fault", fmt.Sprint(fault)), zap.Stack("stack"))
}

// wait waits until something has happened or an alarm is due.
func (l *loop) wait() error {
	if l.look(0) {
		return nil
	}
	next := l.alarms.next()
	if l.passed || !next.IsZero() && (l.armed.IsZero() || next.Before(l.armed)) {
		l.armed, l.passed = next, false
		if err := l.file.SetReadDeadline(next); err != nil {
			return err
		}
	}
	err := l.raw.Read(l.looks)
	if isTimeout(err) {
		l.passed = true
		return nil
	}
	return err
}

// look takes the events that are there, without waiting. The system call is a raw one,
// since it returns at once: the scheduler need not know of it.
func (l *loop) look(uintptr) bool {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce, 0, 0, 0)
	l.ready = 0
	if e == 0 {
		l.ready = int(n)
	}
	return l.ready > 0
}

// edges are what the loop is told of a connection: once each time that it happens.
const edges = unix.EPOLLIN | unix.EPOLLRDHUP | 1<<31 // EPOLLET, which is negative as an int

// add has the events of a descriptor go to a sink, and returns the socket's number.
func (l *loop) add(fd int, to sink, interest uint32) (int32, error) {
	var at int32
	if n := len(l.unused); n > 0 {
		at = l.unused[n-1]
		l.unused = l.unused[:n-1]
	} else {
		at = int32(len(l.sockets))
		l.sockets = append(l.sockets, socket{})
	}
	s := &l.sockets[at]
	s.to = to
	event := unix.EpollEvent{Events: interest, Fd: at, Pad: s.generation}
	if err := l.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.remove(at)
		return 0, err
	}
	return at, nil
}

func (l *loop) change(fd int, at int32, interest uint32) error {
	return l.control(unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: interest, Fd: at, Pad: l.sockets[at].generation})
}

func (l *loop) control(operation, fd int, event *unix.EpollEvent) (err error) {
	e := l.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), operation, fd, event) })
	if err = errors.Join(e, err); err != nil {
		return fmt.Errorf("cannot serve a connection: epoll: %w", err)
	}
	return nil
}

// remove forgets a socket. Closing the descriptor takes it out of the epoll.
func (l *loop) remove(at int32) {
	s := &l.sockets[at]
	s.to = nil
	s.generation++
	l.unused = append(l.unused, at)
}
