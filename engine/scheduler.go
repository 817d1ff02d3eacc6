package engine

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/pace"
	"github.com/semantic-pod/semantic/engine/pool"
)

// forwarder computes one batch.
type forwarder interface {
	Forward(p *model.Pool, rows []model.Row) error
}

// scheduler decides which requests run. One goroutine, its loop, owns the model:
// it admits, steps and ends sequences; everybody else only submits them.
type scheduler struct {
	model      forwarder
	kv         *model.Pool
	blocks     *pool.Pool
	words      vocabulary
	vocabulary int // logits of a token
	maxBatch   int
	stepTokens int // of prompts that a step reads
	queueDepth int
	cacheTTL   time.Duration
	disk       *warm      // nil without --cache-dir
	cold       *cold.Tier // nil without --cold-store
	metrics    *metrics
	log        *zap.Logger

	wake     chan struct{} // holds one token when the queue got something
	stopping chan struct{}
	stopOnce sync.Once
	ended    chan struct{} // closed when the loop is over

	mu     sync.Mutex
	queue  fairQueue[*sequence]
	mail   []func()                  // for the loop, between two steps
	turns  map[agentName][]*sequence // that are under way
	closed bool

	// The loop's own.
	running   []*sequence // oldest first
	preempted []*sequence // oldest first; they come before the queue
	restoring []*sequence // with the loaders; they have blocks, and a place in the batch
	agents    *agents
	admitted  uint64
	batches   uint64      // counts the changes of who is running
	spare     [][]float32 // logits that no sequence uses
	pace      pace.Pace
	rows      []model.Row
	prefills  []*sequence
	sampled   []*sequence

	// Written by the loop, read by anybody.
	started     atomic.Bool
	nRunning    atomic.Int64
	nWaiting    atomic.Int64  // preempted or being restored
	lastStep    atomic.Int64  // nanoseconds; when a step ended, or work came to an idle loop
	serviceTime atomic.Uint64 // bits of a float64: seconds that a request runs, smoothed
}

// prepare makes a scheduler that takes requests, which wait until it is started.
func (s *scheduler) prepare() {
	s.wake = make(chan struct{}, 1)
	s.turns, s.agents = map[agentName][]*sequence{}, newAgents()
	s.stopping = make(chan struct{})
	s.rows, s.pace = make([]model.Row, 0, s.maxBatch+s.stepTokens), pace.New(s.maxBatch)
	s.ended = make(chan struct{})
}

func (s *scheduler) start() {
	if s.disk != nil {
		s.disk.start(s)
	}
	s.lastStep.Store(time.Now().UnixNano())
	s.started.Store(true)
	go s.run()
}

// stop ends everything as drained and joins the loop, which takes one step at most.
// It may be called again when ctx was over before.
func (s *scheduler) stop(ctx context.Context) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a step of the model does not end: %w", ctx.Err())
	}
}

// submit puts a sequence into the queue or refuses it.
func (s *scheduler) submit(seq *sequence) *api.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errStopping
	}
	if s.queue.len() >= s.queueDepth {
		shed := s.queue.yield(seq.tenant)
		if shed == nil {
			return s.overloaded()
		}
		s.endTurn(shed)
		shed.finish(api.FinishShed, s.overloaded())
	}
	if s.queue.len() == 0 && s.nRunning.Load()+s.nWaiting.Load() == 0 {
		s.lastStep.Store(time.Now().UnixNano())
	}
	s.beginTurn(seq)
	s.queue.push(seq)
	s.awaken()
	return nil
}

// overloaded is the answer to a request for which the queue has no room. The hint
// is when the queue should have moved on by one batch.
func (s *scheduler) overloaded() *api.Error {
	seconds := math.Float64frombits(s.serviceTime.Load()) * float64(s.queue.len()) / float64(s.maxBatch)
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: "overloaded", Finish: api.FinishShed,
		RetryAfter: time.Duration(min(max(math.Ceil(seconds), 1), 60)) * time.Second,
		Message:    fmt.Sprintf("%d requests wait already, as many as --queue-depth allows; try again later", s.queue.len()),
	}
}

func (s *scheduler) load() load {
	l := load{queued: s.queue.len() + int(s.nWaiting.Load()), running: int(s.nRunning.Load())}
	l.agents = int(s.agents.active.Load())
	l.poolUsed = float64(s.blocks.Used()) / float64(s.blocks.Total())
	if l.queued+l.running > 0 && s.started.Load() {
		l.stepAge = time.Duration(time.Now().UnixNano() - s.lastStep.Load())
	}
	return l
}

func (s *scheduler) run() {
	defer close(s.ended)
	for {
		select {
		case <-s.stopping:
			s.drain()
			return
		default:
		}
		s.expireAgents(time.Now())
		s.readMail()
		s.sweep()
		s.admit()
		if len(s.running) > 0 {
			s.step()
			s.writeAhead()
			continue
		}
		select {
		case <-s.wake:
		case <-s.stopping:
		}
	}
}

// sweep ends every sequence that nobody waits for any more, wherever it is.
func (s *scheduler) sweep() {
	gone := func(seq *sequence) bool { return seq.ctx.Err() != nil }
	s.mu.Lock()
	left := s.queue.remove(gone)
	s.mu.Unlock()
	for _, list := range [][]*sequence{left, s.running, s.preempted} {
		for _, seq := range list {
			if gone(seq) {
				s.end(seq, nil)
			}
		}
	}
	s.settle()
}

// admit moves sequences into the batch: first those that were preempted, then by
// turns from the queue. None overtakes one that the memory has no room for yet.
func (s *scheduler) admit() {
	for s.seats() > 0 && len(s.preempted) > 0 {
		if !s.seat(s.preempted[0]) {
			return
		}
		s.preempted = slices.Delete(s.preempted, 0, 1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seats() > 0 && len(s.preempted) == 0 {
		seq := s.queue.next()
		if seq == nil {
			break
		}
		seq.order = s.admitted
		if !s.seat(seq) {
			break
		}
		s.admitted++
		s.queue.pop()
	}
	s.publish()
}

// seat takes a sequence into the batch if there are blocks for all its tokens
// and, so that it is not preempted at once, one more for each that runs.
func (s *scheduler) seat(seq *sequence) bool {
	seq.adopt()
	seated := false
	if others := len(s.running) + len(s.restoring); others > 0 {
		seated = s.room(s.blocks.Blocks(len(seq.tokens)+1)-seq.sealed+others) && seq.chain.Grow(len(seq.tokens))
	} else {
		seated = s.grown(seq)
	}
	switch {
	case !seated:
		seq.letGo()
	case !s.fetch(seq):
		s.join(seq)
	}
	return seated
}

// seats is how many sequences more the batch has room for.
func (s *scheduler) seats() int { return s.maxBatch - len(s.running) - len(s.restoring) }

// grown makes sure that a sequence has blocks for all its tokens.
func (s *scheduler) grown(seq *sequence) bool {
	missing := s.blocks.Blocks(len(seq.tokens)) - len(seq.chain.Blocks())
	return missing <= 0 || s.room(missing) && seq.chain.Grow(len(seq.tokens))
}

// join takes a sequence that has its blocks into the batch.
func (s *scheduler) join(seq *sequence) {
	if !seq.admitted {
		seq.admitted, seq.cached = true, seq.computed
		s.countPrompt(seq)
	}
	last := len(s.spare) - 1
	if last >= 0 {
		seq.logits, s.spare = s.spare[last], s.spare[:last]
	} else {
		seq.logits = make([]float32, s.vocabulary)
	}
	at, _ := slices.BinarySearchFunc(s.running, seq.order, func(r *sequence, order uint64) int {
		return int(r.order) - int(order)
	})
	s.running = slices.Insert(s.running, at, seq)
	s.batches++
}

// countPrompt counts a prompt that begins to run, and what of it is cached.
func (s *scheduler) countPrompt(seq *sequence) {
	m := s.metrics
	m.promptTokens.Add(seq.prompt)
	m.promptCached.Add(seq.cached)
	m.vllm.promptTokens.Add(seq.prompt)
	m.vllm.prefixQueries.Add(seq.prompt)
	m.vllm.prefixHits.Add(seq.cached)
	m.prefillSaved.Add(float64(seq.cached) * s.pace.Token())
	switch {
	case seq.warm && seq.cold:
		m.hitCold.Inc()
	case seq.warm:
		m.hitWarm.Inc()
	case seq.cached > 0:
		m.hitHot.Inc()
	default:
		m.cacheMiss.Inc()
	}
}

// unseat gives back what a sequence holds in the batch.
func (s *scheduler) unseat(seq *sequence) {
	seq.letGo()
	if seq.logits != nil {
		s.spare = append(s.spare, seq.logits)
		seq.logits = nil
	}
}

// end finishes a sequence with an error or, with none, because nobody waits for
// it. It leaves its list when settle is called.
func (s *scheduler) end(seq *sequence, err *api.Error) {
	if err != nil {
		s.conclude(seq, err.Class(), err)
		return
	}
	f, gone := abandoned(seq.ctx)
	s.conclude(seq, f, gone)
}

// conclude finishes a sequence and frees what it holds before it tells anybody. Of a
// good answer its agent keeps what is full.
func (s *scheduler) conclude(seq *sequence, f api.Finish, err *api.Error) {
	if err == nil {
		s.keep(seq)
	}
	s.mu.Lock()
	s.endTurn(seq)
	s.mu.Unlock()
	s.unseat(seq)
	seq.over = true
	seq.finish(f, err)
}

// settle drops the sequences that ended from the loop's lists.
func (s *scheduler) settle() {
	over := func(seq *sequence) bool { return seq.over }
	s.running = slices.DeleteFunc(s.running, over)
	s.preempted = slices.DeleteFunc(s.preempted, over)
	s.publish()
}

func (s *scheduler) publish() {
	s.nRunning.Store(int64(len(s.running)))
	s.nWaiting.Store(int64(len(s.preempted) + len(s.restoring)))
}

// drain ends everything that is left.
func (s *scheduler) drain() {
	s.mu.Lock()
	s.closed = true
	left := s.queue.remove(func(*sequence) bool { return true })
	s.mu.Unlock()
	for _, seq := range slices.Concat(left, s.running, s.preempted) {
		s.end(seq, errDrained)
	}
	s.settle()
	for len(s.restoring) > 0 { // their blocks are written to until the loaders say so
		<-s.wake
		s.readMail()
	}
	for _, seq := range s.running {
		s.end(seq, errDrained)
	}
	s.settle()
}
