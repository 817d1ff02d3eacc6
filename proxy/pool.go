package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout is for a connect to a Unix socket, which waits only when the
// engine's backlog is full.
const dialTimeout = time.Second

// errEngineAway marks every failure to get a connection to the engine.
var errEngineAway = errors.New("engine is away")

// pool keeps idle connections to the engine, the last used first. How many are in
// use is bounded by --max-in-flight.
type pool struct {
	path      string
	most      int           // idle ones kept
	suspicion chan struct{} // a request found the engine dead

	mu     sync.Mutex
	idle   []*upstream // the last one was used last
	closed bool
}

func newPool(path string, most int) *pool {
	return &pool{path: path, most: most, suspicion: make(chan struct{}, 1)}
}

// trusted is how long a connection that was given back is not looked at: if the engine
// closed it meanwhile, the kernel takes nothing of the request, and it is sent again.
const trusted = time.Millisecond

// take returns an idle connection that is still good, or nil.
func (p *pool) take(now time.Time) *upstream {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		u := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if now.Sub(u.since) < trusted || u.alive() {
			u.reused = true
			return u
		}
		u.hangUp()
	}
}

// dial opens a connection.
func (p *pool) dial() (*upstream, error) {
	c, err := net.DialTimeout("unix", p.path, dialTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEngineAway, err)
	}
	u, err := newUpstream(c.(*net.UnixConn))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return u, nil
}

// give takes a connection back whose answer was read to its end.
func (p *pool) give(u *upstream, now time.Time) {
	u.since = now
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.most
	if keep {
		p.idle = append(p.idle, u)
	}
	p.mu.Unlock()
	if !keep {
		u.hangUp()
	}
}

// suspect has the engine's state asked for at once.
func (p *pool) suspect() {
	select {
	case p.suspicion <- struct{}{}:
	default: // one is pending
	}
}

// closeOld closes what was idle for longer than most requests are apart.
func (p *pool) closeOld(age time.Duration) {
	limit := time.Now().Add(-age)
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && p.idle[n].since.Before(limit) {
		n++
	}
	old := append([]*upstream(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	p.mu.Unlock()
	for _, u := range old {
		u.hangUp()
	}
}

// close closes the idle connections and keeps no more.
func (p *pool) close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, u := range idle {
		u.hangUp()
	}
	return nil
}

// alive asks the kernel, without waiting, whether the engine closed the idle
// connection or sent something that nobody asked for. Either makes it unfit.
func (u *upstream) alive() bool {
	u.fit = false
	if err := u.raw.Control(u.look); err != nil {
		return false
	}
	return u.fit
}

// lookAt is made once for a connection, so that a look costs no garbage.
func (u *upstream) lookAt(fd uintptr) {
	u.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	n, err := unix.Poll(u.poll[:], 0)
	u.fit = err == nil && n == 0
}
