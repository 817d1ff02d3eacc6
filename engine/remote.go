package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/upstream"
)

// errDrain is why what still runs at the end of a drain is given up.
var errDrain = errors.New("the engine is shutting down")

// remote is the backend that has answers computed by upstreams.
type remote struct {
	fleet   *upstream.Fleet
	gate    turnstile
	metrics *metrics
	log     *zap.Logger

	urls        []string
	perUpstream int // requests that run at once in each of them
	defaultMost int // tokens of an answer whose request sets no bound
	shared      bool

	running  tally           // requests that are waiting or under way
	life     context.Context // ends when what still runs is to be given up
	endLife  context.CancelFunc
	lastStep atomic.Int64 // nanoseconds; when a piece came, or a request
}

func newRemote(cfg Config, m *metrics, log *zap.Logger) (*remote, error) {
	r := &remote{
		metrics: m, log: log, urls: cfg.Upstream.URLs, perUpstream: cfg.MaxBatch,
		defaultMost: cfg.DefaultMaxTokens, shared: cfg.SharePrefixAcrossTenants,
	}
	var err error
	if r.fleet, err = upstream.New(cfg.Upstream, log, upstream.NewMetrics(m.all), r.gate.advance); err != nil {
		return nil, err
	}
	r.gate.depth = cfg.QueueDepth
	r.gate.capacity = func() int { return max(1, r.fleet.Load().Up) * r.perUpstream }
	r.life, r.endLife = context.WithCancel(context.Background())
	r.fleet.Start()
	return r, nil
}

func (r *remote) describe() []zap.Field { return []zap.Field{zap.Strings("upstreams", r.urls)} }

func (r *remote) phase() api.Phase { return r.fleet.Phase() }

func (r *remote) card() card {
	name, created := r.fleet.Card()
	sum := sha256.Sum256([]byte(name))
	return card{name: name, created: created, fingerprint: "fp_" + hex.EncodeToString(sum[:6])}
}

// load counts what waits in the upstreams as queued, whoever sent it. Work stands
// still when requests wait here and nothing comes from there.
func (r *remote) load() load {
	theirs := r.fleet.Load()
	queued, inside := r.gate.counts()
	l := load{queued: queued + theirs.Waiting, running: max(inside-theirs.Waiting, 0), poolUsed: theirs.KVUsed}
	if queued > 0 {
		l.stepAge = time.Duration(time.Now().UnixNano() - r.lastStep.Load())
	}
	return l
}

func (r *remote) count(ctx context.Context, q *dialect.Request) (int, *api.Error) {
	return r.fleet.Count(ctx, q)
}

// start queues a request for the upstreams.
func (r *remote) start(ctx context.Context, a admission) (choices, *api.Error) {
	most := a.MaxTokens
	if most == 0 {
		most = r.defaultMost
	}
	if a.allowance >= 0 {
		most = min(most, a.allowance/max(1, a.N))
	}
	all := make(choices, max(1, a.N))
	for i := range all {
		all[i] = newGeneration(ctx, a.Stream, a.arrival)
		all[i].ready = all[0].ready
	}
	if most == 0 { // the tenant's key may spend no token more
		for _, g := range all {
			g.finish(api.FinishLength, nil)
		}
		return all, nil
	}
	t, err := r.gate.line(a.tenant)
	if err != nil {
		return nil, err
	}
	if queued, inside := r.gate.counts(); queued+inside == 1 {
		r.lastStep.Store(time.Now().UnixNano())
	}
	r.running.run(func() { r.serve(ctx, a, most, t, all) })
	return all, nil
}

// serve waits for the request's turn and has it answered.
func (r *remote) serve(ctx context.Context, a admission, most int, t *ticket, all choices) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.life, func() { cancel(errDrain) })()
	in, refusal := r.gate.enter(ctx, t)
	if !in {
		r.end(ctx, all, nil, refusal)
		return
	}
	began := time.Now()
	call := newRemoteCall(r, a, most, all, began)
	ends, usage, err := r.fleet.Generate(ctx, call.call)
	r.gate.leave(time.Since(began))
	call.tell(usage)
	r.end(ctx, all, ends, err)
}

// end ends all choices alike: well, if the answer is complete.
func (r *remote) end(ctx context.Context, all choices, ends []dialect.Ending, err *api.Error) {
	for i, g := range all {
		if ends == nil {
			g.finish(r.badEnd(ctx, err))
			continue
		}
		if ends[i].Stop != "" {
			g.stoppedBy(ends[i].Stop)
		}
		g.finish(ends[i].Finish, nil)
	}
}

// badEnd is the end of an answer that is not complete.
func (r *remote) badEnd(ctx context.Context, err *api.Error) (api.Finish, *api.Error) {
	switch {
	case errors.Is(context.Cause(ctx), errDrain):
		return api.FinishDrained, errDrained
	case ctx.Err() != nil && err == nil:
		return abandoned(ctx)
	case err == nil:
		return api.FinishError, errFault
	}
	return err.Class(), err
}

// drain ends what still runs as drained and refuses what comes after.
func (r *remote) drain(ctx context.Context) error {
	r.gate.close()
	r.endLife()
	return r.running.wait(ctx)
}

func (r *remote) persist(context.Context) error { return nil }

func (r *remote) close() error {
	r.fleet.Stop()
	return nil
}

// remoteCall is one request at the upstreams, and what is measured on the way.
type remoteCall struct {
	r     *remote
	call  *upstream.Call
	all   choices
	times times
	last  []time.Time // by choice: when its last piece came
	usage dialect.Usage
}

func newRemoteCall(r *remote, a admission, most int, all choices, began time.Time) *remoteCall {
	c := &remoteCall{r: r, all: all, last: make([]time.Time, len(all)), times: times{arrival: a.arrival, start: began}}
	c.call = &upstream.Call{
		Request: a.Request, Most: most, RequestID: a.requestID, Traceparent: a.traceparent, Piece: c.piece,
	}
	if a.trace != nil {
		c.call.Attempt = a.trace.attempt
	}
	if a.agent != "" {
		c.call.Affinity = a.tenant + "\x00" + a.agent
		c.call.Agent = remoteAgent(a.tenant, a.agent)
	}
	if !r.shared {
		c.call.Salt = a.tenant
	}
	r.metrics.queueWait.Update(c.times.queue().Seconds())
	_, inside := r.gate.counts()
	r.metrics.batchSize.Update(float64(inside))
	return c
}

// remoteAgent is an agent's name at another pod, where all of our tenants are one.
func remoteAgent(tenant, agent string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + agent))
	return "remote-" + hex.EncodeToString(sum[:16])
}

// piece passes a part on. It is called by one goroutine.
func (c *remoteCall) piece(choice int, p dialect.Part, u dialect.Usage) bool {
	now := time.Now()
	c.r.lastStep.Store(now.UnixNano())
	if c.times.first.IsZero() {
		c.times.first = now
		c.r.metrics.prefill.Update(c.times.prefill().Seconds())
	}
	if !c.last[choice].IsZero() {
		c.r.metrics.interToken.Update(now.Sub(c.last[choice]).Seconds())
		c.r.metrics.vllm.interToken.Update(now.Sub(c.last[choice]).Seconds())
	}
	c.r.metrics.tokenRate.Add(now, max(0, u.Completion-c.usage.Completion))
	c.times.last, c.last[choice] = now, now
	return c.all[choice].push(p, c.share(choice, u), c.times)
}

// share gives the counts, which are of all choices together, to the first one; its
// own are right whenever they are added up.
func (c *remoteCall) share(choice int, u dialect.Usage) dialect.Usage {
	c.usage = u
	if choice > 0 {
		u.Completion = 0
	}
	return u
}

// tell notes the counts at the request's end.
func (c *remoteCall) tell(u dialect.Usage) {
	for i, g := range c.all {
		g.push(dialect.Part{}, c.share(i, u), c.times)
	}
	m := c.r.metrics
	m.tokensGenerated.Add(u.Completion)
	m.promptTokens.Add(u.Prompt)
	m.promptCached.Add(u.Cached)
	m.promptComputed.Add(max(0, u.Prompt-u.Cached))
	m.vllm.generatedTokens.Add(u.Completion)
	m.vllm.promptTokens.Add(u.Prompt)
	m.vllm.prefixQueries.Add(u.Prompt)
	m.vllm.prefixHits.Add(u.Cached)
	switch {
	case u.Prompt == 0:
	case u.Cached > 0:
		m.hitHot.Inc()
	default:
		m.cacheMiss.Inc()
	}
}
