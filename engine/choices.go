package engine

import (
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// choices are the answers to one request, in the making. Whenever one of them has
// something to read, the first one's ready tells.
type choices []*generation

// seedOf is the seed of one choice: choice i of a request with seed s is the only
// choice of one with seed s+i.
func seedOf(seed uint64, choice int) uint64 { return seed + uint64(choice) }

// wait returns when there may be something to read.
func (c choices) wait(patience time.Duration) {
	select {
	case <-c[0].ready:
	case <-c[0].ctx.Done():
		c.result(patience) // ended by now, whoever did it
	}
}

// finished waits until all have ended or nobody wants them any more.
func (c choices) finished() {
	for _, g := range c {
		select {
		case <-g.done:
		case <-g.ctx.Done():
		}
	}
}

// result is how far the request has come: the worst of its choices' ends, the
// tokens of all, the prompt's once.
func (c choices) result(patience time.Duration) result {
	all := c[0].result(patience)
	for _, g := range c[1:] {
		all.join(g.result(patience))
	}
	return all
}

func (r *result) join(o result) {
	r.finish = api.Worse(r.finish, o.finish)
	r.usage.Completion += o.usage.Completion
	r.times.start = earlier(r.times.start, o.times.start)
	r.times.first = earlier(r.times.first, o.times.first)
	if o.times.last.After(r.times.last) {
		r.times.last = o.times.last
	}
	if r.err == nil {
		r.err = o.err
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (r result) ending() dialect.Ending {
	return dialect.Ending{Finish: r.finish, Stop: r.stop, Usage: r.usage}
}
