package cold

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/objectstore"
)

// Fetch brings an agent to this disk if the store has another state of it, and says whether it
// did. It waits for --cold-patience at most, and not at all for a store that does not answer or
// has enough to do; what is fetched later is there for the next turn. Whoever writes the agent
// meanwhile is not waited for either.
func (t *Tier) Fetch(ctx context.Context, tenant, id string) bool {
	b, err := t.store()
	if err != nil {
		return false
	}
	select {
	case t.seats <- struct{}{}:
	default:
		return false
	}
	done := make(chan bool, 1)
	var answered atomic.Bool
	waiting, cancel := context.WithTimeout(ctx, t.opt.Patience)
	defer cancel()
	if !t.begin(func(ctx context.Context) {
		defer func() { <-t.seats }()
		done <- t.fetch(ctx, b, tenant, id, &answered)
	}) {
		<-t.seats
		return false
	}
	select {
	case copied := <-done:
		return copied
	case <-waiting.Done():
		if ctx.Err() == nil && !answered.Load() {
			t.failed(fmt.Errorf("it said nothing within --cold-patience=%s", t.opt.Patience))
		}
		return false
	}
}

// begin runs f within --cold-patience, on a goroutine of the tier's own: whoever waits for it may
// leave. It is false when the tier is closed.
func (t *Tier) begin(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, t.opt.Patience)
		defer cancel()
		f(ctx)
	})
	return true
}

func (t *Tier) fetch(ctx context.Context, b objectstore.Bucket, tenant, id string, answered *atomic.Bool) bool {
	began := time.Now()
	defer func() { t.opt.Metrics.fetch.Update(time.Since(began).Seconds()) }()
	for range 2 { // an object may be replaced while it is read
		r, o, there, err := t.find(ctx, b, tenant, id)
		if err != nil {
			t.failed(err)
			return false
		}
		answered.Store(true)
		if !there || t.has(r, o) {
			return false
		}
		err = t.copy(ctx, b, r, o)
		if err == nil {
			return true
		}
		if !errors.Is(err, objectstore.ErrNotFound) {
			t.opt.Log.Warn("an agent could not be fetched from the cold store; its prompt is computed",
				zap.Error(err), zap.String("tenant", tenant), zap.String("agent", id), zap.Uint64("generation", o.generation))
			return false
		}
	}
	return false
}

// find looks an agent up. If it was deleted elsewhere it is dropped here.
func (t *Tier) find(ctx context.Context, b objectstore.Bucket, tenant, id string) (*record, object, bool, error) {
	t.mu.Lock()
	r := t.record(tenant, id)
	t.mu.Unlock()
	h, err := t.list(ctx, b, r.place)
	if err != nil {
		return r, object{}, false, err
	}
	if n, when := h.deleted(); t.precedes(r, n, when) {
		t.drop(ctx, r, n)
	}
	t.mu.Lock()
	r.saw(h.latest)
	t.mu.Unlock()
	o, there := h.there()
	return r, o, there, nil
}

// has says whether an object is on this disk as it is, or was refused.
func (t *Tier) has(r *record, o object) bool {
	t.mu.Lock()
	bad := r.bad == o.Key
	t.mu.Unlock()
	if bad {
		return true
	}
	c, err := t.opt.Disk.Export(r.tenant, r.id)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // it was only read
	if c.Sum != o.sum {
		return false
	}
	t.mine(r, o, contentOf(c))
	return true
}

// copy brings an object to this disk.
func (t *Tier) copy(ctx context.Context, b objectstore.Bucket, r *record, o object) error {
	body, err := b.Open(ctx, o.Key, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it is only read
	c, err := t.opt.Disk.Import(ctx, r.tenant, r.id, body, o.Size)
	if fe, bad := errors.AsType[*store.FileError](err); bad {
		t.refuse(r, o, fe)
		return err
	}
	if err != nil {
		return err
	}
	t.mine(r, o, contentOf(c))
	t.opt.Metrics.fetched.Inc()
	return nil
}

// mine notes that this disk has what the store has.
func (t *Tier) mine(r *record, o object, c content) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.saw(&o)
	r.top, r.local = c, c
	if !r.busy {
		r.pending = false
	}
}

// refuse counts an object that is bad. It is not fetched again; the next state of the agent
// takes its place.
func (t *Tier) refuse(r *record, o object, fe *store.FileError) {
	t.opt.Metrics.refused[fe.Reason].Inc()
	t.mu.Lock()
	r.bad = o.Key
	t.mu.Unlock()
	t.opt.Log.Warn("an object of the cold store is bad and is not served", zap.Error(fe), zap.String("key", o.Key), zap.Int64("bytes", o.Size))
}

// Look asks the store for an agent, within --cold-patience.
func (t *Tier) Look(ctx context.Context, tenant, id string) (a Agent, there bool, err error) {
	b, err := t.store()
	if err != nil {
		return a, false, err
	}
	type answer struct {
		agent Agent
		there bool
		err   error
	}
	done := make(chan answer, 1)
	if !t.begin(func(ctx context.Context) {
		r, o, there, err := t.find(ctx, b, tenant, id)
		if err == nil && there {
			_, err = t.contentOf(ctx, b, r, o)
		}
		if err != nil {
			t.failed(err)
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		done <- answer{r.describe(), there && r.bad != o.Key, err}
	}) {
		return a, false, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, t.opt.Patience)
	defer cancel()
	select {
	case d := <-done:
		return d.agent, d.there, d.err
	case <-ctx.Done():
		return a, false, fmt.Errorf("the cold store did not answer within --cold-patience=%s: %w", t.opt.Patience, ErrAway)
	}
}
