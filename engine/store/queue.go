package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSuperseded says that an agent was not written since a newer state of it came after.
var ErrSuperseded = errors.New("a newer state of the agent came after")

// sweepEvery is how often a queue's goroutine deletes what has expired.
const sweepEvery = time.Minute

// Job is an agent to be written in the background. Its tokens and blocks must not change before
// Done is called. Done is called exactly once, on the queue's goroutine, and must not wait; its
// error is Write's, or ErrSuperseded.
type Job struct {
	Agent Agent
	Done  func(error)
}

// Queue writes agents to a store in the background, one after the other, in the order in which
// they came. Of several states of one agent that wait, only the newest is written.
type Queue struct {
	store   *Store
	depth   int
	timeout time.Duration

	mu       sync.Mutex
	closed   bool
	waiting  []*Job // in order; at most depth together with the finished
	finished []outcome
	current  *Job
	cancel   context.CancelCauseFunc // of the current job; never nil while there is one
	tally    Tally                   // since Close was called
	over     bool                    // the time that Close was given is up

	wake chan struct{} // something changed, for the goroutine
	room chan struct{} // something changed, for who waits in Enqueue
	quit chan struct{} // closed by Close
	done chan struct{} // closed when the goroutine has ended
	end  context.CancelCauseFunc
}

// outcome is a job that was decided without being written.
type outcome struct {
	job *Job
	err error
}

// Tally is what became of the agents that waited when a queue was closed.
type Tally struct {
	Persisted int
	Failed    int // that could not be written
	Left      int // that there was no time for
}

// NewQueue starts a queue of at most depth jobs. Each write gets the timeout (--persist-timeout).
func NewQueue(s *Store, depth int, timeout time.Duration) *Queue {
	return newQueue(s, depth, timeout, sweepEvery)
}

func newQueue(s *Store, depth int, timeout, sweepEvery time.Duration) *Queue {
	ctx, end := context.WithCancelCause(context.Background())
	q := &Queue{
		store: s, depth: max(1, depth), timeout: timeout, end: end,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run(ctx, sweepEvery)
	return q
}

// TryEnqueue takes a job unless the queue is full or closed. It never waits for the disk.
func (q *Queue) TryEnqueue(j Job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiting)+len(q.finished) >= q.depth {
		return false
	}
	if i := q.find(j.Agent.Tenant, j.Agent.ID); i >= 0 {
		q.finished = append(q.finished, outcome{q.waiting[i], ErrSuperseded})
		q.waiting[i] = &j
	} else {
		q.waiting = append(q.waiting, &j)
	}
	signal(q.wake)
	return true
}

// Enqueue waits for room, for as long as ctx allows.
func (q *Queue) Enqueue(ctx context.Context, j Job) error {
	for !q.TryEnqueue(j) {
		select {
		case <-q.room:
		case <-q.quit:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("cannot queue the agent: %d others wait for the disk: %w", q.Len(), context.Cause(ctx))
		}
	}
	signal(q.room) // there may be more, for another
	return nil
}

// Forget withdraws an agent that waits, and gives up its write if that is under way: their jobs
// end with ErrDeleted. To delete an agent, forget it here, then delete it in the store.
func (q *Queue) Forget(tenant, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.find(tenant, id); i >= 0 {
		q.finished = append(q.finished, outcome{q.waiting[i], ErrDeleted})
		q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
		signal(q.wake)
	}
	if j := q.current; j != nil && j.Agent.Tenant == tenant && j.Agent.ID == id {
		q.cancel(ErrDeleted)
	}
}

// ForgetAll is Forget for every agent.
func (q *Queue) ForgetAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.waiting {
		q.finished = append(q.finished, outcome{j, ErrDeleted})
	}
	q.waiting = nil
	signal(q.wake)
	if q.current != nil {
		q.cancel(ErrDeleted)
	}
}

// Len returns how many agents wait or are being written.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	if q.current != nil {
		n++
	}
	return n
}

// Close takes no more jobs and writes those that wait, within ctx. When ctx ends first, the write
// under way is given up and the rest is left. It says what became of them, and returns an error
// only if the disk does not even let go of that last write; the goroutine then ends with it.
func (q *Queue) Close(ctx context.Context) (Tally, error) {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.quit)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return q.closing(), nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	q.end(context.DeadlineExceeded)
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-q.done:
		return q.closing(), nil
	case <-grace.C:
		t := q.closing()
		t.Left += q.Len()
		return t, fmt.Errorf("cannot end the write of an agent: the disk of --cache-dir has not answered for %s after the deadline", closeGrace)
	}
}

// closeGrace is what the last system call gets after the deadline.
const closeGrace = time.Second

func (q *Queue) closing() Tally {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tally
}

// find returns the place of an agent's job among those that wait, or -1.
func (q *Queue) find(tenant, id string) int {
	for i, j := range q.waiting {
		if j.Agent.ID == id && j.Agent.Tenant == tenant {
			return i
		}
	}
	return -1
}

// run is the queue's goroutine.
func (q *Queue) run(ctx context.Context, sweepEvery time.Duration) {
	defer close(q.done)
	defer q.end(nil)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		for q.step(ctx) {
		}
		select {
		case <-q.wake:
		case <-sweep.C:
			q.store.Sweep()
		case <-q.quit:
			if !q.step(ctx) { // nothing can come any more
				return
			}
		}
	}
}

// step reports what is decided and writes the next agent. It says whether there was anything.
func (q *Queue) step(ctx context.Context) bool {
	q.mu.Lock()
	finished := q.finished
	q.finished = nil
	var job *Job
	if len(q.waiting) > 0 {
		job, q.waiting = q.waiting[0], q.waiting[1:]
		ctx, q.cancel = context.WithCancelCause(ctx)
		q.current = job
	}
	q.mu.Unlock()
	signal(q.room)
	for _, o := range finished {
		o.job.Done(o.err)
	}
	if job != nil {
		q.write(ctx, job)
	}
	return job != nil || len(finished) > 0
}

func (q *Queue) write(ctx context.Context, job *Job) {
	timed, cancel := context.WithTimeout(ctx, q.timeout)
	err := q.store.Write(timed, job.Agent)
	cancel()
	q.mu.Lock()
	q.current = nil
	q.cancel(nil)
	switch {
	case !q.closed || errors.Is(err, ErrDeleted):
	case err == nil:
		q.tally.Persisted++
	case q.over:
		q.tally.Left++
	default:
		q.tally.Failed++
	}
	q.mu.Unlock()
	job.Done(err)
}

// signal leaves a note that something changed, unless one lies there already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
