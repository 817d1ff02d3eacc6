package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// maxUnread is how many bytes of a stream may wait for a reader. One who is that
// far behind counts as gone.
const maxUnread = 256 << 10

// Why a request's context ended, as its cause.
var (
	errDeadline = errors.New("the request's deadline passed")
	errNoReader = errors.New("the answer could not be written")
)

// generation is one answer in the making, between the backend that writes it and
// the handler that reads it. Writing never blocks: text that is not read yet is
// kept, within a bound.
type generation struct {
	ctx   context.Context // ends when nobody wants the answer any more
	limit int             // bytes of text that may wait for a reader; 0 if it is read at the end

	ready chan struct{} // holds one token when there is something to read
	done  chan struct{} // closed at the end

	conflict atomic.Bool // another turn of its agent ran at the same time

	mu    sync.Mutex
	text  []byte
	told  []dialect.Token     // of that text, if they are asked for
	calls []dialect.CallDelta // after that text
	bytes int                 // of text and calls
	ended bool
	res   result
}

// result is how far a generation came and how it ended.
type result struct {
	finish api.Finish
	stop   string // the stop string that ended it, if one did
	usage  dialect.Usage
	times  times
	err    *api.Error // nil when the answer is good
}

// times are the moments of a request on its way through the engine. A moment that
// was not reached is zero.
type times struct {
	arrival, start, first, last time.Time
}

func (t times) queue() time.Duration   { return between(t.arrival, t.start) }
func (t times) prefill() time.Duration { return between(t.start, t.first) }
func (t times) decode() time.Duration  { return between(t.first, t.last) }
func (t times) ttft() time.Duration    { return between(t.arrival, t.first) }

func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return to.Sub(from)
}

func newGeneration(ctx context.Context, stream bool, arrival time.Time) *generation {
	limit := 0
	if stream {
		limit = maxUnread
	}
	return &generation{
		ctx: ctx, limit: limit,
		ready: make(chan struct{}, 1), done: make(chan struct{}),
		res: result{times: times{arrival: arrival}},
	}
}

// push adds what was made since the last call. It returns false when the reader
// is so far behind that the rest should not be made.
func (g *generation) push(p dialect.Part, usage dialect.Usage, at times) bool {
	g.mu.Lock()
	g.text = append(g.text, p.Text...)
	g.told = append(g.told, p.Tokens...)
	g.calls = append(g.calls, p.Calls...)
	g.bytes += len(p.Text)
	for _, c := range p.Calls {
		g.bytes += len(c.Arguments)
	}
	g.res.usage, g.res.times = usage, at
	behind := g.limit > 0 && g.bytes > g.limit
	g.mu.Unlock()
	if !p.Empty() {
		g.signal()
	}
	return !behind
}

// stoppedBy notes the stop string that ends the generation.
func (g *generation) stoppedBy(stop string) {
	g.mu.Lock()
	g.res.stop = stop
	g.mu.Unlock()
}

// finish ends the generation. The first end counts.
func (g *generation) finish(f api.Finish, err *api.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	g.ended, g.res.finish, g.res.err = true, f, err
	close(g.done)
	g.signal()
}

func (g *generation) signal() {
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// take returns what was not read yet and says whether it was the last.
func (g *generation) take() (p dialect.Part, ended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.Text, p.Tokens, p.Calls = string(g.text), g.told, g.calls
	g.text, g.told, g.calls, g.bytes = g.text[:0], nil, nil, 0
	return p, g.ended
}

// usage returns the counts so far.
func (g *generation) usage() dialect.Usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.res.usage
}

// result returns how far the generation has come. When nobody wants the answer
// any more, the backend may need a moment to say so; it is given patience.
func (g *generation) result(patience time.Duration) result {
	if g.ctx.Err() != nil {
		select {
		case <-g.done:
		case <-time.After(patience):
			g.finish(abandoned(g.ctx))
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.res
}

// abandoned is the end of a request whose context is over.
func abandoned(ctx context.Context) (api.Finish, *api.Error) {
	if errors.Is(context.Cause(ctx), errDeadline) {
		return api.FinishDeadline, &api.Error{
			Status: http.StatusGatewayTimeout, Code: "deadline_exceeded", Finish: api.FinishDeadline,
			Message: "the request's time was up before its answer was complete",
		}
	}
	return api.FinishClientGone, &api.Error{
		Status: statusClientGone, Code: "client_gone", Finish: api.FinishClientGone,
		Message: "the client left before its answer was complete",
	}
}
