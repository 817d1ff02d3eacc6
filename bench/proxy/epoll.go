package main

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// poller is one epoll, level-triggered, for one thread.
type poller struct {
	fd     int
	events []unix.EpollEvent
	fds    []int
}

func newPoller() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return poller{}, fmt.Errorf("epoll: %w", err)
	}
	return poller{fd: fd, events: make([]unix.EpollEvent, 256)}, nil
}

// ownPoller is one for the calling goroutine, which has a thread of its own until done.
func ownPoller() (poll poller, done func(), err error) {
	runtime.LockOSThread()
	if poll, err = newPoller(); err != nil {
		runtime.UnlockOSThread()
		return poll, nil, err
	}
	return poll, func() { poll.close(); runtime.UnlockOSThread() }, nil
}

// add asks to be told when there is something to read.
func (p *poller) add(fd int) error {
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// shut closes a descriptor, which cannot fail in a way that matters here.
func shut(fd int) { _ = unix.Close(fd) }

// wait returns the descriptors that something came for, within d; below 0 it waits
// for ever. Its time is that of ppoll on the epoll, which knows nanoseconds.
func (p *poller) wait(d time.Duration) ([]int, error) {
	p.fds = p.fds[:0]
	n, err := unix.EpollWait(p.fd, p.events, max(-1, int(min(0, d))))
	if n == 0 && err == nil && d > 0 {
		t := unix.NsecToTimespec(d.Nanoseconds())
		if _, err = unix.Ppoll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, &t, nil); err == nil {
			n, err = unix.EpollWait(p.fd, p.events, 0)
		}
	}
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for _, e := range p.events[:n] {
		p.fds = append(p.fds, int(e.Fd))
	}
	return p.fds, nil
}

func (p *poller) close() { shut(p.fd) }

// monotonic is a time that all processes of the machine share.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail for this clock
	return t.Nano()
}
