package proxy

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// handOver gives the connection to a goroutine of its own, in which fasthttp serves
// it from the bytes on that have come: requests that are not usual, and that are not
// worth a second reader that would have to agree with fasthttp in everything.
func (g *guest) handOver(bytes []byte) {
	l, c, p := g.loop, g.conn, g.loop.p
	before := append([]byte(nil), bytes...)
	_ = l.control(unix.EPOLL_CTL_DEL, g.fd, nil)
	g.leaveLoop()
	g.state = handed
	defer p.conns.serving.Done()
	tcp, err := ownConnection(g.fd)
	if err != nil {
		p.log.Zap().Warn(err.Error())
		p.conns.remove(c)
		return
	}
	c.mu.Lock()
	c.Conn, c.tcp, c.lane, c.before = tcp, tcp, nil, before
	c.mu.Unlock()
	if c.linger {
		p.conns.serving.Go(func() { _ = c.Close() })
		return
	}
	p.conns.serving.Go(func() { p.serveConn(c) })
}

// ownConnection makes a connection of the standard library out of a descriptor.
func ownConnection(fd int) (*net.TCPConn, error) {
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close() //nolint:errcheck // the connection has a descriptor of its own
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with a connection: %w", err)
	}
	return c.(*net.TCPConn), nil
}
