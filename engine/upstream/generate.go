package upstream

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// Call is a request for an answer, and where the answer's pieces go.
type Call struct {
	Request  *dialect.Request
	Most     int    // tokens that each choice may have
	Affinity string // requests with the same go to the same upstream while it can take them; "" for any
	Agent    string // whose memory a pod of ours keeps; "" for none
	Salt     string // requests with different ones share no cached prefix, where the upstream can do that

	RequestID, Traceparent string

	// Attempt begins a span for one upstream's try, whose traceparent goes to it in place
	// of Traceparent; end tells how it went. nil for a request that is not traced.
	Attempt func(address string) (traceparent string, end func(outcome string, failed bool))

	// Piece takes what one choice says next and the counts so far. It must not wait.
	// When it returns false nobody wants the rest.
	Piece func(choice int, p dialect.Part, u dialect.Usage) bool
}

// verdict is how an upstream dealt with one request.
type verdict int

const (
	served  verdict = iota
	neutral         // the request was at fault, or nobody wants its answer any more
	busy            // the upstream said that it has no room
	failed          // the upstream is at fault
)

var verdicts = []verdict{served, neutral, busy, failed}

func (v verdict) String() string { return [...]string{"served", "refused", "busy", "failed"}[v] }

// outcome is how an attempt at one upstream went.
type outcome struct {
	verdict verdict
	err     *api.Error    // what the client is told if nobody else can do better
	wait    time.Duration // until a busy upstream may have room
	why     error         // for the log
}

// Generate asks one upstream after the other until one begins to answer, and reads
// that answer to its end. It returns how each choice ended and what was counted, as
// far as it came if the answer has no good end. It ends at once with ctx.
func (f *Fleet) Generate(ctx context.Context, c *Call) ([]dialect.Ending, dialect.Usage, *api.Error) {
	tried := map[*server]bool{}
	last := outcome{err: f.unreachable()}
	for {
		s := f.acquire(c.Affinity, tried)
		if s == nil {
			return nil, dialect.Usage{}, last.err
		}
		if len(tried) > 0 {
			f.metrics.failovers.Inc()
		}
		tried[s] = true
		a := newAnswer(c)
		end := c.traceAttempt(s.address)
		o := f.attempt(ctx, s, c, a)
		end(o.verdict)
		f.release(s, o.verdict, o.wait)
		f.metrics.requests[s.address][o.verdict].Inc()
		if o.why != nil {
			f.log.Warn("upstream did not serve a request", zap.String("upstream", s.address), zap.String("request_id", c.RequestID),
				zap.Stringer("outcome", o.verdict), zap.Bool("begun", a.begun), zap.Error(o.why))
		}
		if o.verdict == served {
			return a.ends, a.usage, nil
		}
		if o.verdict == neutral || a.begun || ctx.Err() != nil {
			return nil, a.usage, o.err
		}
		last = o
	}
}

// traceAttempt begins the span of a try, if the request is traced.
func (c *Call) traceAttempt(address string) (end func(verdict)) {
	if c.Attempt == nil {
		return func(verdict) {}
	}
	traceparent, over := c.Attempt(address)
	c.Traceparent = traceparent
	return func(v verdict) { over(v.String(), v == busy || v == failed) }
}

// unreachable is the answer when no upstream is up.
func (f *Fleet) unreachable() *api.Error {
	if f.Phase() == api.PhaseLoading {
		return &api.Error{
			Status: http.StatusServiceUnavailable, Code: "model_loading", Finish: api.FinishShed, RetryAfter: time.Second,
			Message: "no upstream is ready yet; try again",
		}
	}
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: "upstream_unreachable", Finish: api.FinishShed, RetryAfter: time.Second,
		Message: "no upstream can be reached; try again",
	}
}

// died is the end of an answer that upstream or network cut off, or that makes no sense.
func died(why string) *api.Error {
	return &api.Error{
		Status: http.StatusBadGateway, Code: "engine_died", Finish: api.FinishEngineDied,
		Message: "the server that computes the answer " + why,
	}
}

// attempt sends the request to one upstream and reads its answer.
func (f *Fleet) attempt(ctx context.Context, s *server, c *Call, a *answer) outcome {
	f.mu.Lock()
	t, lost := target{kind: s.kind, model: s.model}, s.lost
	f.mu.Unlock()
	path, body, refusal := c.body(t)
	if refusal != nil {
		return outcome{verdict: neutral, err: refusal}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := f.post(ctx, cancel, s, lost, c.request(path, body))
	if err != nil {
		return f.broken(ctx, a, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp, c.Request)
	}
	if media := resp.Header.Get("Content-Type"); !isEventStream(media) {
		return outcome{verdict: failed, err: died("did not answer with a stream"), why: fmt.Errorf("its answer is %.80q, not text/event-stream", media)}
	}
	return f.read(ctx, cancel, resp.Body, t, a, path)
}
