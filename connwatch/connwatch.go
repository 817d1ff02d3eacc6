// Package connwatch tells when the other end of a connection has left, although
// nobody reads from it: one epoll for all connections, and no goroutine for each.
//
// A server that waits for its backend does not read from its client, so that a
// client's leaving goes unseen until the next write. The kernel knows at once, and
// says so by EPOLLRDHUP. The interest is edge-triggered and set once for the life
// of a connection, so a request costs no system call.
package connwatch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// leaving is what the kernel reports about the other end: it closed or shut down
// its half. EPOLLHUP and EPOLLERR come unasked. EPOLLET's value is negative as an
// int, which is why the constant is built here.
const leaving = unix.EPOLLRDHUP | 1<<31

// eventsAtOnce is how many departures one system call can report.
const eventsAtOnce = 128

// Ticket names a watched connection. It is never given twice, so an event that
// was on its way when a connection was forgotten cannot be taken for that of a
// later one with the same descriptor.
type Ticket uint64

// Watcher watches connections.
type Watcher struct {
	file *os.File // the epoll, in the runtime's own poller: waiting blocks no thread
	raw  syscall.RawConn
	loop sync.WaitGroup

	mu      sync.Mutex
	last    Ticket
	watched map[Ticket]func()
}

// New starts a watcher.
func New() (*Watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot watch connections: epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot watch connections: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "connwatch")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot watch connections: %w", err), file.Close())
	}
	w := &Watcher{file: file, raw: raw, watched: map[Ticket]func(){}}
	w.loop.Go(w.run)
	return w, nil
}

// Watch calls left, once, when the other end of conn has closed or shut down its
// half. All calls are made by one goroutine, so left must not wait for anything.
func (w *Watcher) Watch(conn syscall.Conn, left func()) (Ticket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("cannot watch a connection: %w", err)
	}
	w.mu.Lock()
	w.last++
	t := w.last
	w.watched[t] = left
	w.mu.Unlock()
	// The ticket travels with the event in the eight bytes that are the caller's.
	event := unix.EpollEvent{Events: leaving, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	e := raw.Control(func(fd uintptr) {
		err = w.raw.Control(func(epoll uintptr) {
			if e := unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &event); e != nil {
				w.Forget(t)
				err = e
			}
		})
	})
	if err = errors.Join(e, err); err != nil {
		w.Forget(t)
		return 0, fmt.Errorf("cannot watch a connection: %w", err)
	}
	return t, nil
}

// Forget ends the interest in a connection, before its owner closes it. Closing
// the descriptor takes it out of the epoll.
func (w *Watcher) Forget(t Ticket) {
	w.mu.Lock()
	delete(w.watched, t)
	w.mu.Unlock()
}

// Close ends the watching and its goroutine.
func (w *Watcher) Close() error {
	err := w.file.Close()
	w.loop.Wait()
	return err
}

// run reports departures until the watcher is closed.
func (w *Watcher) run() {
	events := make([]unix.EpollEvent, eventsAtOnce)
	for {
		n := 0
		err := w.raw.Read(func(epoll uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(epoll), events, 0)
			return err == nil && n > 0
		})
		if err != nil {
			return // closed
		}
		for _, e := range events[:n] {
			t := Ticket(uint32(e.Fd)) | Ticket(uint32(e.Pad))<<32
			w.mu.Lock()
			left := w.watched[t]
			delete(w.watched, t)
			w.mu.Unlock()
			if left != nil {
				left()
			}
		}
	}
}
