package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floor forwards as cheaply as Go can: one goroutine, one epoll, four system calls a
// request that the scheduler is not told of, since none of them can block, and a wait
// for events that the runtime's poller does. It looks for nothing but where messages
// end. It has no feature at all, and no error of a
// backend is told: it is there to show what is left to be had.
type floor struct {
	poll   poller
	listen int
	engine string
	ends   map[int]*end
	idle   []*end // backends
	events [256]unix.EpollEvent
	ready  int
	buf    [16 << 10]byte
}

// end is one side of an exchange; its peer is the other while there is one.
type end struct {
	fd      int
	peer    *end
	backend bool
	in      []byte
}

// runFloor serves a TCP address until the process is ended.
func runFloor(address, engine string) error {
	runtime.GOMAXPROCS(1)
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("floor's socket: %w", err)
	}
	at := &unix.SockaddrInet4{Port: to.Port}
	copy(at.Addr[:], to.IP.To4())
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("floor on %s: %w", address, err)
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return fmt.Errorf("floor on %s: %w", address, err)
	}
	f := &floor{listen: fd, engine: engine, ends: map[int]*end{}}
	if f.poll, err = newPoller(); err != nil {
		return err
	}
	if err := f.poll.add(fd); err != nil {
		return err
	}
	return f.serve()
}

func (f *floor) serve() error {
	if err := unix.SetNonblock(f.poll.fd, true); err != nil {
		return fmt.Errorf("floor's epoll: %w", err)
	}
	file := os.NewFile(uintptr(f.poll.fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("floor's epoll: %w", err)
	}
	for {
		if !f.look(0) {
			if err := raw.Read(f.look); err != nil {
				return fmt.Errorf("floor's epoll: %w", err)
			}
		}
		for _, event := range f.events[:f.ready] {
			fd := int(event.Fd)
			if fd == f.listen {
				f.accept()
			} else if e := f.ends[fd]; e != nil && !f.pass(e) {
				f.drop(e)
			}
		}
	}
}

// look takes the events that are there.
func (f *floor) look(uintptr) bool {
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(f.poll.fd), uintptr(unsafe.Pointer(&f.events[0])), uintptr(len(f.events)), 0, 0, 0)
	f.ready = max(0, int(n))
	return f.ready > 0
}

// rawCall reads or writes without waiting: n below 0 is an error.
func rawCall(number uintptr, fd int, b []byte) (n int, again bool) {
	r, _, e := unix.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return -1, e == unix.EAGAIN
	}
	return int(r), false
}

func (f *floor) accept() {
	fd, _, err := unix.Accept4(f.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	f.keep(&end{fd: fd})
}

func (f *floor) keep(e *end) {
	f.ends[e.fd] = e
	if f.poll.add(e.fd) != nil {
		f.drop(e)
	}
}

// pass takes what came at one end and, when the message is whole, hands it to the
// other.
func (f *floor) pass(e *end) bool {
	n, again := rawCall(unix.SYS_READ, e.fd, f.buf[:])
	if n <= 0 {
		return again
	}
	message := f.buf[:n]
	if len(e.in) > 0 {
		e.in = append(e.in, message...)
		message = e.in
	}
	if _, _, _, whole := cutMessage(message); !whole {
		e.in = append(e.in[:0], message...)
		return true
	}
	if e.peer == nil && !f.connect(e) {
		return false
	}
	m, _ := rawCall(unix.SYS_WRITE, e.peer.fd, message)
	e.in = e.in[:0]
	if e.backend {
		f.idle = append(f.idle, e)
		e.peer.peer, e.peer = nil, nil
	}
	return m == len(message)
}

func (f *floor) connect(e *end) bool {
	var b *end
	if n := len(f.idle); n > 0 {
		b, f.idle = f.idle[n-1], f.idle[:n-1]
	} else {
		fd, err := connect("unix", f.engine)
		if err != nil {
			return false
		}
		b = &end{fd: fd, backend: true}
		f.keep(b)
	}
	e.peer, b.peer = b, e
	return true
}

func (f *floor) drop(e *end) {
	for _, one := range []*end{e, e.peer} {
		if one != nil && f.ends[one.fd] == one {
			delete(f.ends, one.fd)
			shut(one.fd)
		}
	}
}
