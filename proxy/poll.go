package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/api"
	"go.uber.org/zap"
)

const (
	pollInterval = 250 * time.Millisecond
	lostInterval = 20 * time.Millisecond // while the engine is away or loads, so that its readiness is seen soon
	pollDeadline = 900 * time.Millisecond
	maxState     = 64 << 10
)

// poller asks the engine how it is, over a connection of its own.
type poller struct {
	p    *Proxy
	up   *upstream
	boot string // of the engine process that answered last
	was  bool   // it answered last time

	fullBacklogs int // times in a row that it took no connection
	throng       throng
}

// throng watches how many connections are open. Requests leave no garbage, so that the
// runtime would collect what thousands of connections have left behind much later, and
// the process would keep their memory until then.
type throng struct{ most int }

// throngLeast is a number of connections whose memory is worth being collected.
const throngLeast = 500

// hasLeft reports, once, that at least half of a throng is gone.
func (c *throng) hasLeft(open int) bool {
	left := c.most-open >= max(throngLeast, c.most/2)
	if left || open > c.most {
		c.most = open
	}
	return left
}

// pollLoop keeps health true until ctx ends. A request that finds the engine dead
// wakes it.
func (p *Proxy) pollLoop(ctx context.Context) {
	l := &poller{p: p}
	defer l.hangUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.pool.suspicion:
		case <-timer.C:
		}
		state, err := l.ask()
		l.tell(state, err)
		p.pool.closeOld(p.cfg.IdleTimeout)
		if l.throng.hasLeft(p.conns.count()) {
			runtime.GC()
		}
		wait := pollInterval
		if err != nil || state.Phase == api.PhaseLoading || state.Phase == api.PhaseCutOff {
			wait = lostInterval
		}
		timer.Reset(wait)
	}
}

// ask gets the engine's state. A connection that the engine closed in between is
// replaced once.
func (l *poller) ask() (api.EngineState, error) {
	deadline := time.Now().Add(pollDeadline)
	body, err := l.fetch(deadline)
	if err != nil && !isTimeout(err) {
		body, err = l.fetch(deadline)
	}
	var state api.EngineState
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(body, &state); err != nil {
		return state, fmt.Errorf("cannot read the engine's state: %w", err)
	}
	return state, nil
}

func (l *poller) fetch(deadline time.Time) ([]byte, error) {
	if l.up == nil {
		up, err := l.p.pool.dial()
		if err != nil {
			return nil, err
		}
		l.up = up
	}
	body, err := l.up.get(api.PathState, deadline, maxState)
	if err != nil {
		l.hangUp()
	}
	return body, err
}

func (l *poller) hangUp() {
	if l.up != nil {
		l.up.hangUp()
		l.up = nil
	}
}

// tell passes on what the engine said, and logs what changed.
func (l *poller) tell(state api.EngineState, err error) {
	log := l.p.log.Zap()
	if errors.Is(err, syscall.EAGAIN) && l.was && l.fullBacklogs < backlogTries {
		l.fullBacklogs++ // it listens, and is busy
		return
	}
	l.fullBacklogs = 0
	if err != nil {
		l.p.health.lost()
		if l.was {
			log.Warn("engine cannot be reached", zap.Error(err))
		}
		l.was = false
		return
	}
	if l.boot != "" && l.boot != state.Boot {
		l.p.meters.restarts.Inc()
		log.Warn("engine restarted", zap.String("engine_boot", state.Boot))
	}
	if !l.was {
		l.p.log.Announce("engine reached", zap.String("phase", string(state.Phase)), zap.String("engine_boot", state.Boot))
	}
	l.boot, l.was = state.Boot, true
	l.p.health.seen(state, time.Now())
}
