// Package cold keeps agents in an object store, the cold tier, so that another pod can go on with
// them. What lies there is the file of the warm tier as it is, with all its seals; it is served
// when the whole of it has been verified on this disk.
//
// Each state of an agent is a generation with an object of its own, which is never changed. Who
// is to write one first creates its lease, and of all who create a lease one succeeds: so a
// generation has one writer, whatever their clocks say, and none can overwrite another's. A
// writer that was overtaken finds the later generation when it looks again before it takes its
// own for written. docs/cold-tier.md tells the whole protocol.
//
// The tier has its own goroutines. None of its calls is made on the scheduler's loop but Kept,
// Left and Wrote, which wait for nothing.
//
// Read: cold (open, close), names (of objects), record (what is known of an agent), health
// (whether the store answers), write, fetch, remove, survey (all agents at once), metrics.
package cold

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/store"
)

// Options say where agents are kept and within what bounds.
type Options struct {
	Address  string        // of the store (--cold-store)
	Timeout  time.Duration // of one write (--cold-timeout)
	Patience time.Duration // of a turn that waits for its agent (--cold-patience)
	Quota    int64         // bytes of all agents of this model and key (--cold-quota); 0: no bound
	TTL      time.Duration // after its last write an agent is deleted (--cache-ttl); 0: never

	Disk    *store.Store
	Metrics *Metrics
	Log     *zap.Logger
	// Forget drops an agent from memory and disk, since it was deleted on another pod.
	Forget func(ctx context.Context, tenant, id string)
	// Idle is called every second, for who has agents in memory to write them to disk in time.
	Idle func()
}

const (
	writers  = 3 // agents that are written at once
	fetchers = 8 // agents that are fetched at once; a turn that comes beyond them computes
	beat     = time.Second
	callTime = 5 * time.Second // of one small call, beside those of a turn
)

// ErrAway says that the store does not answer.
var ErrAway = errors.New("the cold store does not answer")

// Tier is an open cold tier. Its methods may be called by many goroutines.
type Tier struct {
	opt    Options
	root   string // of the keys of this model's agents
	holder string // of leases: this process
	health health
	seats  chan struct{} // one for each fetch under way

	ctx     context.Context // of all goroutines
	end     context.CancelFunc
	running sync.WaitGroup
	quit    chan struct{}
	drained chan struct{} // closed when no writer has anything left after quit
	wake    chan struct{}

	mu      sync.Mutex
	closed  bool
	records map[string]*record // by place
	tally   Tally
}

// Tally is what became of the agents that waited when a tier was closed.
type Tally struct {
	Waiting int // when it was closed
	Written int // or found to be there
	Left    int // that there was no time for, or no store
}

// Open starts a tier. It waits a moment for the store, which need not be there.
func Open(o Options) *Tier {
	t := &Tier{
		opt: o, root: rootFolder + o.Disk.Space() + "/", holder: newHolder(), seats: make(chan struct{}, fetchers),
		quit: make(chan struct{}), drained: make(chan struct{}), wake: make(chan struct{}, 1), records: map[string]*record{},
	}
	t.ctx, t.end = context.WithCancel(context.Background())
	t.health.open(t.opt.Address)
	t.opt.Metrics.watch(t)
	first := make(chan struct{})
	t.running.Go(func() { t.keep(first) })
	t.running.Go(t.surveyLoop)
	var busy sync.WaitGroup
	for range writers {
		busy.Go(t.writeLoop)
	}
	t.running.Go(func() {
		busy.Wait()
		close(t.drained)
	})
	select {
	case <-first:
	case <-time.After(beat):
	}
	return t
}

func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return host + "-" + hex.EncodeToString(b[:])
}

// Close writes what waits, within ctx, and ends the tier. When ctx ends first, what is being
// written is given up; no generation of it is taken for written. It returns an error if a call
// to the store does not even end then.
func (t *Tier) Close(ctx context.Context) (Tally, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return Tally{}, nil
	}
	t.closed = true
	now := time.Now()
	for _, r := range t.records {
		if r.pending {
			r.due = now
			t.tally.Waiting++
		}
	}
	t.mu.Unlock()
	close(t.quit)
	if t.health.up() {
		select {
		case <-t.drained:
		case <-ctx.Done():
		}
	}
	t.end()
	ended := make(chan struct{})
	go func() { // is left behind only with a call that does not end
		t.running.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
		err = t.health.close()
	case <-time.After(beat):
		err = fmt.Errorf("a call to --cold-store has not ended %s after its time", beat)
	}
	t.opt.Metrics.watch(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.Left = t.tally.Waiting - t.tally.Written
	return t.tally, err
}

// keep is the goroutine that looks after the store.
func (t *Tier) keep(first chan struct{}) {
	t.check()
	close(first)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	w := watcher{tier: t, seen: map[string]time.Time{}}
	for {
		w.look()
		select {
		case <-tick.C:
		case <-t.quit:
			return
		}
		t.opt.Idle()
		t.check()
		t.nudge()
	}
}

// nudge lets a writer look for work.
func (t *Tier) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
