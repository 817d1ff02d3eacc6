package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/semantic-pod/semantic/api"
	"go.uber.org/zap"
)

const (
	// drainStep is how often a drain looks at what is left.
	drainStep = 10 * time.Millisecond
	// farewell is what the answers that a drain cut short get to reach their clients.
	farewell = time.Second
)

// Stop drains and ends the proxy. Readiness turns first, and every answer from then on
// ends its connection; after --drain-delay no more connections are taken; what runs may
// run to its end for --drain-timeout; the rest ends with an error that says so. When ctx
// ends the waits do too, but nothing else is left out. All goroutines have ended when
// Stop returns.
func (p *Proxy) Stop(ctx context.Context) error {
	err := errors.New("the proxy is already stopping")
	p.stopped.Do(func() { err = p.stop(ctx) })
	return err
}

func (p *Proxy) stop(ctx context.Context) error {
	p.log.Announce("proxy drains", zap.Duration("delay", p.cfg.DrainDelay), zap.Duration("timeout", p.cfg.DrainTimeout),
		zap.Int64("in_flight", p.meters.inFlight.Load()))
	p.health.drain()
	tick(ctx, p.cfg.DrainDelay)

	p.takeWaiting()
	err := closeListener(p.public)
	if !p.waitForConnections(ctx, p.cfg.DrainTimeout) { // those that only wait for a request are no loss
		if n := p.meters.inFlight.Load(); n > 0 {
			p.log.Zap().Warn("requests did not end within the drain: raise --drain-timeout",
				zap.Duration("timeout", p.cfg.DrainTimeout), zap.Int64("in_flight", n))
		}
		p.conns.each(p.cutShort)
		p.waitForConnections(context.WithoutCancel(ctx), farewell)
	}
	err = errors.Join(err, p.endServing(), p.cleanUp())
	p.log.Announce("proxy stopped")
	return err
}

// endServing closes every listener and connection and joins their goroutines.
func (p *Proxy) endServing() error {
	var err error
	if p.scrapes != nil {
		err = closeListener(p.scrapes)
	}
	p.accepting.Wait()
	p.joinLoops()
	p.conns.each(func(c *conn) {
		c.cancel(api.FinishDrained)
		c.hangUp()
	})
	p.conns.serving.Wait()
	return err
}

// waitForConnections closes connections that have been quiet long enough until none of a
// client is left, and reports whether that came to be in time. The client of one that
// was just used may be about to ask again, and could not know that nobody reads.
func (p *Proxy) waitForConnections(ctx context.Context, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		busy := 0
		since := time.Now().Add(-p.cfg.quiet())
		p.conns.each(func(c *conn) {
			if !c.closeIdle(since) && !c.scrapes {
				busy++
			}
		})
		if busy == 0 {
			return true
		}
		if !tick(ctx, drainStep) {
			return false
		}
	}
}

// cutShort ends a connection's request, which gets a moment to tell its client.
func (p *Proxy) cutShort(c *conn) {
	c.cancel(api.FinishDrained)
	c.endBy(time.Now().Add(farewell))
}
