package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// usesLoops reports whether loops serve the connections: not where each would be
// unusual.
func (p *Proxy) usesLoops() bool { return p.cfg.TLSCertFile == "" && p.shared == nil }

// startLoops starts the loops, as many as --proxy-threads says.
func (p *Proxy) startLoops() error {
	n := p.cfg.Threads
	if n == 0 {
		n = max(1, runtime.NumCPU()/coresPerThread)
	}
	for range n {
		l, err := newLoop(p)
		if err != nil {
			return err
		}
		p.lanes = append(p.lanes, l)
		p.onStop("event loop", l.close)
	}
	return nil
}

// doorbell is the listener in a loop: each loop accepts what it can, and the kernel
// wakes one of them for a connection.
type doorbell struct {
	loop *loop
	raw  syscall.RawConn
	at   int32
	rest alarm // after a passing failure, such as no descriptor being free
}

// ring has every loop accept from the listener.
func (p *Proxy) ring(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot accept connections: %w", err)
	}
	for _, l := range p.lanes {
		d := &doorbell{loop: l, raw: raw}
		d.rest.ring = d.listen
		p.bells = append(p.bells, d)
		l.post(d.listen)
	}
	return nil
}

// takeWaiting accepts the connections that the kernel has taken and no loop yet: with
// the listener they would be reset.
func (p *Proxy) takeWaiting() {
	for _, d := range p.bells {
		done := make(chan struct{})
		if d.loop.post(func() { defer close(done); d.happened(0) }) {
			<-done
		}
	}
}

func (d *doorbell) listen() {
	err := errors.Join(d.raw.Control(func(fd uintptr) {
		var err error
		if d.at, err = d.loop.add(int(fd), d, unix.EPOLLIN|unix.EPOLLEXCLUSIVE); err != nil {
			d.loop.p.fail(err)
		}
	}))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		d.loop.p.fail(fmt.Errorf("cannot accept connections: %w", err))
	}
}

// acceptsAtOnce is how many connections are taken before the others have their turn.
const acceptsAtOnce = 64

// happened takes the connections that are there.
func (d *doorbell) happened(uint32) {
	for range acceptsAtOnce {
		var fd int
		var from unix.Sockaddr
		var failure error
		err := d.raw.Control(func(listener uintptr) {
			fd, from, failure = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		})
		if err != nil || errors.Is(failure, unix.EAGAIN) {
			return // closed, or another loop was quicker
		}
		if failure != nil {
			d.pause(failure)
			return
		}
		d.loop.p.welcome(fd, from, d.loop)
	}
}

func (d *doorbell) pause(failure error) {
	p := d.loop.p
	switch {
	case errors.Is(failure, unix.EINTR):
	case !isPassing(failure):
		p.fail(fmt.Errorf("cannot accept connections: %w", failure))
	default:
		p.log.Zap().Warn("cannot accept connections; trying again", zap.Error(failure))
		_ = d.raw.Control(func(fd uintptr) { _ = d.loop.control(unix.EPOLL_CTL_DEL, int(fd), nil) })
		d.loop.remove(d.at)
		d.loop.alarms.put(&d.rest, time.Now().Add(acceptPause))
	}
}

// joinLoops returns when every loop has done what it was doing.
func (p *Proxy) joinLoops() {
	for _, l := range p.lanes {
		done := make(chan struct{})
		if l.post(func() { close(done) }) {
			<-done
		}
	}
}

// welcome begins to serve a connection.
func (p *Proxy) welcome(fd int, from unix.Sockaddr, l *loop) {
	c := &conn{p: p, addr: addressOf(from)}
	c.client = c.addr.String()
	c.counted = !contains(p.addresses.trusted, c.addr)
	c.lane = &guest{loop: l, conn: c, fd: fd}
	c.quiet.Store(time.Now().UnixNano())
	if over := p.conns.add(c); over != "" {
		if tcp, err := ownConnection(fd); err == nil {
			p.refuseConnection(tcp, over)
		}
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // as net does
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	p.conns.serving.Add(1)
	c.lane.adopt()
}

func addressOf(from unix.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}

// onLane has a loop do something to a connection, if one serves it. The connection
// may have been handed over by the time that the loop comes to it.
func (c *conn) onLane(do func(*guest), handedOver func()) bool {
	c.mu.Lock()
	g := c.lane
	c.mu.Unlock()
	if g == nil {
		return false
	}
	return g.loop.post(func() {
		g.loop.guard(g, func() {
			if g.state == handed {
				handedOver()
			} else if g.state != gone {
				do(g)
			}
		})
	})
}
