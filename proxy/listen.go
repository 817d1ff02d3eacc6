package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// registry holds every open connection, so that a drain can close what is idle
// and, at its end, all. It also owns their goroutines.
type registry struct {
	most, mostEach int // connections; of one address, 0 is no limit

	mu      sync.Mutex
	open    map[*conn]struct{}
	from    map[netip.Addr]int // how many of each address, without trusted proxies
	serving sync.WaitGroup
	n       atomic.Int64 // len(open), for who may not wait
}

func (r *registry) limit(most, mostEach int) {
	r.most, r.mostEach = most, mostEach
	r.open, r.from = map[*conn]struct{}{}, map[netip.Addr]int{}
}

// add returns which limit the connection is over, or "".
func (r *registry) add(c *conn) (over string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.open) >= r.most:
		return overAll
	case c.counted && r.mostEach > 0 && r.from[c.addr] >= r.mostEach:
		return overEach
	}
	r.open[c] = struct{}{}
	r.n.Add(1)
	if c.counted {
		r.from[c.addr]++
	}
	return ""
}

// The limits of connections, by their settings.
const (
	overAll  = "max-connections"
	overEach = "max-connections-per-address"
)

func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.open[c]; !open {
		return
	}
	delete(r.open, c)
	r.n.Add(-1)
	if c.counted {
		if r.from[c.addr]--; r.from[c.addr] == 0 {
			delete(r.from, c.addr)
		}
	}
}

func (r *registry) count() int { return int(r.n.Load()) }

// each calls f for every open connection. It does not hold the lock meanwhile,
// since f may close the connection.
func (r *registry) each(f func(*conn)) {
	r.mu.Lock()
	all := make([]*conn, 0, len(r.open))
	for c := range r.open {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// listen opens the TCP addresses and starts to accept on them.
func (p *Proxy) listen() error {
	if p.usesLoops() {
		if err := p.startLoops(); err != nil {
			return err
		}
	}
	address := net.JoinHostPort(p.cfg.Host, strconv.Itoa(p.cfg.Port))
	ln, err := bounded().Listen(context.Background(), "tcp", address)
	if err != nil {
		return listenError(address, fmt.Sprintf("--port=%d", p.cfg.Port), "--host="+p.cfg.Host, err)
	}
	p.public = ln
	p.onStop("listener", func() error { return closeListener(ln) })
	if p.cfg.MetricsListen != "" {
		if p.scrapes, err = net.Listen("tcp", p.cfg.MetricsListen); err != nil {
			return listenError(p.cfg.MetricsListen, "--metrics-listen="+p.cfg.MetricsListen, "--metrics-listen="+p.cfg.MetricsListen, err)
		}
		p.onStop("metrics listener", func() error { return closeListener(p.scrapes) })
		p.accepting.Go(func() { p.acceptLoop(p.scrapes, true) })
	}
	if p.usesLoops() {
		return p.ring(ln.(*net.TCPListener))
	}
	p.accepting.Go(func() { p.acceptLoop(ln, false) })
	return nil
}

// maxUnsent is how much of an answer the kernel holds for a client that does not
// read, beside what that client's own buffer took. Without it the kernel grows a
// socket's buffer to tcp_wmem's 4 MiB, at 5,000 slow readers 20 GB.
const maxUnsent = 128 << 10

// bounded listens for connections with that bound. A multipath TCP listener, which is
// Go's default, would not hand it to its plain connections.
func bounded() *net.ListenConfig {
	cfg := &net.ListenConfig{Control: boundUnsent}
	cfg.SetMultipathTCP(false)
	return cfg
}

func boundUnsent(_, _ string, c syscall.RawConn) error {
	var fault error
	err := c.Control(func(fd uintptr) {
		fault = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
	return errors.Join(err, fault)
}

func listenError(address, port, host string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("cannot listen on %s: %s is taken by another process: choose another port: %w", address, port, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("cannot listen on %s: %s needs a right that this process lacks: choose a port above 1023: %w", address, port, err)
	}
	return fmt.Errorf("cannot listen on %s: is %s an address of this machine? %w", address, host, err)
}

func closeListener(ln net.Listener) error {
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// acceptPause is how long accepting rests after a passing failure, such as no
// descriptor being free.
const acceptPause = 50 * time.Millisecond

// acceptLoop gives each connection a goroutine, in which fasthttp serves it. The
// loop is ours and not fasthttp's so that every goroutine is joined and every
// connection is known by the time that Stop returns.
func (p *Proxy) acceptLoop(ln net.Listener, scrapes bool) {
	for {
		accepted, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case isPassing(err):
			p.log.Zap().Warn("cannot accept connections; trying again", zap.Error(err))
			time.Sleep(acceptPause)
			continue
		case err != nil:
			p.fail(fmt.Errorf("cannot accept connections: %w", err))
			return
		}
		tcp := accepted.(*net.TCPConn)
		c := newConn(p, tcp, scrapes)
		c.counted = !contains(p.addresses.trusted, c.addr)
		if over := p.conns.add(c); over != "" {
			p.refuseConnection(tcp, over)
			continue
		}
		p.conns.serving.Go(func() { p.serveConn(c) })
	}
}

// isPassing tells a shortage, which other connections' closing ends, from a
// broken listener.
func isPassing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (p *Proxy) serveConn(c *conn) {
	ticket, err := p.watcher.Watch(c.tcp, c.leave)
	if err != nil {
		p.log.Zap().Warn("cannot notice when this client leaves", zap.String("client", c.client), zap.Error(err))
	}
	c.ticket = ticket
	if p.shakeHands(c) == nil {
		if c.headBy.IsZero() {
			c.readBy(time.Now().Add(p.cfg.ReadHeaderTimeout))
		}
		_ = p.server.ServeConn(c) // the client's faults are in the access log
	}
	_ = c.Close()
}

const (
	farewellTime  = 250 * time.Millisecond // for a refused client to read why
	mostFarewells = 64                     // at a time
)

// refuseConnection answers a connection over the limit, and reads what its client had
// sent already, for nothing: a connection that is closed over unread bytes is reset,
// and a client that is still writing never reads the answer. In a flood the later ones
// have to do without: they get the answer and the reset.
func (p *Proxy) refuseConnection(c *net.TCPConn, over string) {
	p.meters.refusedConnections[over].Inc()
	_ = c.SetDeadline(time.Now().Add(farewellTime))
	_, _ = c.Write(tooManyConnections(over)) // fits into the buffer of a new connection
	if p.farewells.Add(1) > mostFarewells {
		p.farewells.Add(-1)
		_ = c.Close()
		return
	}
	p.conns.serving.Go(func() {
		defer p.farewells.Add(-1)
		if c.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c)
		}
		_ = c.Close()
	})
}

// fail reports an error that ends the process.
func (p *Proxy) fail(err error) {
	select {
	case p.fatal <- err:
	default: // one is enough
	}
}
