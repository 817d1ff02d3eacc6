package limit

import (
	"math"
	"time"

	"go.uber.org/ratelimit"
)

// pacer gives each request its turn, one interval after the turn before. The turns
// come from go.uber.org/ratelimit, whose Take would sleep until the turn has come:
// its clock does not sleep, so that Take only says when the turn is.
//
// A Take cannot be undone. So that a refused request takes no turn, the pacer says
// beforehand which turn Take would give; it knows the last one, and the rule is the
// library's (a test holds the two together).
type pacer struct {
	turns    ratelimit.Limiter // nil without a limit
	clock    setClock
	interval int64 // nanoseconds between two turns
	line     int64 // how long the longest wait is: burst intervals
	last     int64 // the turn given last; 0 before the first
}

// setClock is the library's clock: it shows the time that it was set to.
type setClock struct{ now int64 }

func (c *setClock) Now() time.Time      { return time.Unix(0, c.now) }
func (c *setClock) Sleep(time.Duration) {}

// set changes the limit. The turns that were given stay given: the next one comes
// after them.
func (p *pacer) set(requestsPerSecond float64, burst int) {
	if requestsPerSecond == 0 { // the library would divide by it
		*p = pacer{}
		return
	}
	step := interval(requestsPerSecond)
	p.line = int64(burst) * step
	if p.interval == step {
		return
	}
	p.interval = step
	p.turns = ratelimit.New(1, ratelimit.Per(time.Duration(p.interval)), ratelimit.WithoutSlack, ratelimit.WithClock(&p.clock))
	if p.last != 0 {
		p.clock.now = p.last
		p.turns.Take() // the first turn is when it is asked for
	}
}

// next is the turn that take would give.
func (p *pacer) next(now int64) int64 {
	if p.last == 0 || now-p.last > p.interval {
		return now
	}
	return p.last + p.interval
}

// take takes the next turn and says when it is.
func (p *pacer) take(now int64) int64 {
	p.clock.now = now
	p.last = p.turns.Take().UnixNano()
	return p.last
}

// over is by how much the line is too long for a request that comes now.
func (p *pacer) over(now int64, patience time.Duration) time.Duration {
	if p.turns == nil {
		return 0
	}
	most := p.line
	if patience > 0 {
		most = min(most, int64(patience))
	}
	return time.Duration(max(0, p.next(now)-now-most))
}

// standing counts how many requests would be admitted now.
func (p *pacer) standing(now int64) Standing {
	if p.turns == nil {
		return Standing{}
	}
	s := Standing{Limit: p.line/p.interval + 1}
	wait := p.next(now) - now
	if wait <= p.line {
		s.Remaining = (p.line-wait)/p.interval + 1
	}
	s.Reset = time.Duration(wait)
	return s
}

// used is how full the line is, from 0 to 1.
func (p *pacer) used(now int64) float64 {
	if p.turns == nil {
		return 0
	}
	wait := p.next(now) - now
	return math.Min(1, float64(wait)/float64(p.line+p.interval))
}
