package kernel

import (
	"sync"
	"sync/atomic"
)

const (
	// spinRounds times pausesPerRound is how long a worker waits before it gives up its CPU: about
	// 100 microseconds. That is longer than a phase takes, and than waking a sleeper does, when each
	// worker has a core to itself; sleeping sooner would make waking the rule. When another process
	// holds a core a phase takes milliseconds, and whoever went on spinning would take the other
	// core from a worker that has something to do.
	spinRounds     = 1000
	pausesPerRound = 4
	// linesPerRound is how many lines of memory a worker that waits asks for at a time, mostAhead how
	// many bytes at most: a part of what a core's second-level cache holds.
	linesPerRound = 8
	mostAhead     = 256 << 10
)

// Team is some workers that run one function together, each on its own goroutine, the caller's
// being the first. Within the function they share work with Each.
type Team struct {
	size       int
	job        func(worker int)
	pause      func(n int)
	prefetch   func(p *byte, lines int)
	arrived    atomic.Int32
	generation atomic.Uint32 // counts barriers and jobs
	next       atomic.Int64  // the next piece of work of this phase
	seats      []seat
	closed     atomic.Bool
	wg         sync.WaitGroup
}

// seat is where a worker sleeps when it has waited too long.
type seat struct {
	sleeping atomic.Bool
	wake     chan struct{}
	passed   uint32 // generations that this worker has seen
	ahead    []byte // what it will read when it goes on, and has not asked for
	_        [16]byte
}

// NewTeam starts a team of size workers.
func NewTeam(size int, v *Variant) *Team {
	t := &Team{size: size, pause: v.pause, prefetch: v.prefetch, seats: make([]seat, size)}
	for i := range t.seats {
		t.seats[i].wake = make(chan struct{}, 1)
	}
	for i := 1; i < size; i++ {
		t.wg.Go(func() { t.work(i) })
	}
	return t
}

// Size returns the number of workers.
func (t *Team) Size() int { return t.size }

// Close ends the workers and waits for them.
func (t *Team) Close() {
	if t.closed.Swap(true) {
		return
	}
	t.release()
	t.wg.Wait()
}

// Run has every worker call job, and returns when all have returned. The job must not keep the
// workers apart: each must call Each equally often.
func (t *Team) Run(job func(worker int)) {
	t.job = job
	t.next.Store(int64(t.size))
	t.release()
	t.seats[0].passed = t.generation.Load()
	job(0)
	t.barrier(0)
}

func (t *Team) work(worker int) {
	for {
		t.wait(worker)
		if t.closed.Load() {
			return
		}
		t.job(worker)
		t.barrier(worker)
	}
}

// Ahead says what this worker will read first when it goes on: do(worker) of a later Each. While it
// waits for the others it brings that into its core's cache, since memory has nothing else to do.
func (t *Team) Ahead(worker int, memory []byte) {
	t.seats[worker].ahead = memory[:min(len(memory), mostAhead)]
}

// Each shares the calls do(0) to do(count-1) among the workers, and returns when all are done. Each
// worker begins with the call of its own number; of the others, one that is held up leaves its share.
func (t *Team) Each(worker, count int, do func(i int)) {
	for i := worker; i < count; i = int(t.next.Add(1)) - 1 {
		do(i)
	}
	t.barrier(worker)
}

// barrier returns when every worker has called it.
func (t *Team) barrier(worker int) {
	if int(t.arrived.Add(1)) < t.size {
		t.wait(worker)
		return
	}
	t.arrived.Store(0)
	t.next.Store(int64(t.size))
	t.release()
	t.seats[worker].passed++
}

// release begins a new generation and wakes those who sleep.
func (t *Team) release() {
	t.generation.Add(1)
	for i := range t.seats {
		if s := &t.seats[i]; s.sleeping.Load() && s.sleeping.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
}

// wait returns when a generation has begun that this worker has not seen.
func (t *Team) wait(worker int) {
	s := &t.seats[worker]
	for round := 0; t.generation.Load() == s.passed; round++ {
		if len(s.ahead) > 0 {
			n := min(len(s.ahead), linesPerRound*lineBytes)
			t.prefetch(&s.ahead[0], (n+lineBytes-1)/lineBytes)
			s.ahead = s.ahead[n:]
			continue
		}
		if round < spinRounds {
			t.pause(pausesPerRound)
			continue
		}
		s.sleeping.Store(true)
		if t.generation.Load() == s.passed || !s.sleeping.CompareAndSwap(true, false) {
			<-s.wake // who releases late may wake a worker once too often: hence the loop
		}
	}
	s.passed++
}
