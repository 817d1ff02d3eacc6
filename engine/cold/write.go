package cold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/objectstore"
)

var (
	errLeased     = errors.New("another pod holds the lease")
	errLost       = errors.New("another pod wrote a later generation meanwhile")
	errSuperseded = errors.New("the store has a newer state of the agent")
)

// lease is what an object of that kind says. Its term is what another process lets pass, by its
// own clock and from when it first saw it, before it takes the writer for dead. It is longer than
// the writer's own time, so that nobody who still writes is taken for dead, and not renewed.
type lease struct {
	Holder string  `json:"holder"`
	Term   float64 `json:"term_seconds"`
	Since  string  `json:"since"` // for people; by the holder's clock
}

// term is of the leases of this process.
func (t *Tier) term() time.Duration { return 2*t.opt.Timeout + time.Second }

// writeLoop writes what is due until the tier is closed and nothing can be written any more.
func (t *Tier) writeLoop() {
	timer := time.NewTicker(beat)
	defer timer.Stop()
	for t.ctx.Err() == nil {
		if r := t.next(); r != nil {
			t.nudge() // there may be more, for another
			t.attempt(r)
			continue
		}
		select {
		case <-t.wake:
		case <-timer.C:
		case <-t.ctx.Done():
		case <-t.quit:
			if !t.anyDue() {
				return
			}
			time.Sleep(time.Millisecond) // another has the last ones
		}
	}
}

// next takes the agent that was due first.
func (t *Tier) next() (first *record) {
	if !t.health.up() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, r := range t.records {
		if r.pending && !r.busy && !r.due.After(now) && (first == nil || t.sooner(r, first)) {
			first = r
		}
	}
	if first != nil {
		first.busy, first.again = true, false
	}
	return first
}

// sooner says which goes first: who was due first or, at the end, who was used last.
func (t *Tier) sooner(r, other *record) bool {
	if t.closed {
		return r.local.lastUse.After(other.local.lastUse)
	}
	return r.due.Before(other.due)
}

func (t *Tier) anyDue() bool {
	if !t.health.up() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, r := range t.records {
		if r.busy && r.again || r.pending && !r.busy && !r.due.After(now) {
			return true
		}
	}
	return false
}

// attempt writes an agent and notes what came of it.
func (t *Tier) attempt(r *record) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.ctx, t.opt.Timeout)
	err := t.write(ctx, r)
	timeUp := ctx.Err() != nil && t.ctx.Err() == nil
	cancel()
	reason, fault := "", false
	switch {
	case err == nil, errors.Is(err, errSuperseded):
	case errors.Is(err, errLeased):
		t.opt.Metrics.waited.Inc()
	case errors.Is(err, errLost):
		reason = failedLost
	case errors.Is(err, errDamaged):
		reason = failedDamaged
	case timeUp:
		reason, fault = failedDeadline, true
	case t.ctx.Err() != nil: // the tier is closed
	default:
		reason, fault = failedAway, true
	}
	if errors.Is(err, errSuperseded) {
		reason = failedSuperseded
	}
	if reason != "" {
		t.opt.Metrics.failures[reason].Inc()
	}
	if fault {
		t.doubt(err)
	}
	t.mu.Lock()
	first := r.failures == 0
	r.busy = false
	switch {
	case err == nil || reason == failedSuperseded || reason == failedDamaged:
		if reason != failedDamaged && t.closed && !r.again {
			t.tally.Written++
		}
		r.pending, r.failures = r.again, 0
		r.due, r.since = time.Now(), time.Now()
	case errors.Is(err, errLeased):
		r.due = time.Now().Add(min(beat, max(t.opt.Timeout/4, 10*time.Millisecond)))
	default:
		r.failures++
		r.due = time.Now().Add(min(beat<<min(r.failures-1, 6), time.Minute))
	}
	t.mu.Unlock()
	if fault && first {
		t.opt.Log.Warn("an agent could not be written to the cold store; it stays on this pod's disk and is tried again",
			zap.Error(err), zap.String("tenant", r.tenant), zap.String("agent", r.id))
	}
	if err == nil {
		t.opt.Log.Debug("an agent is in the cold store", zap.String("tenant", r.tenant), zap.String("agent", r.id), zap.Duration("took", time.Since(began)))
	}
}

var errDamaged = errors.New("the agent's file is bad")

// write makes the next generation of an agent of what is on this disk, if it is newer than what
// the store has. When it returns nil, the store has that state or one that goes on from it.
func (t *Tier) write(ctx context.Context, r *record) error {
	c, err := t.opt.Disk.Export(r.tenant, r.id)
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrClosed):
		return nil // it was deleted, expired or evicted
	case err != nil:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer func() { _ = c.Close() }() // it is only read
	b, err := t.store()
	if err != nil {
		return err
	}
	h, err := t.list(ctx, b, r.place)
	if err != nil {
		return err
	}
	if n, when := h.deleted(); t.precedes(r, n, when) {
		t.drop(ctx, r, n)
		return nil
	}
	if o, there := h.there(); there {
		if o.sum == c.Sum {
			t.know(r, &o, contentOf(c))
			return nil
		}
		if err := t.compare(ctx, b, r, o, c); err != nil {
			return err
		}
	}
	if err := t.waitForRival(ctx, b, r, h); err != nil {
		return err
	}
	if err := c.Verify(ctx); err != nil {
		if _, bad := errors.AsType[*store.FileError](err); bad {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return err
	}
	return t.generation(ctx, b, r, h.highest+1, c)
}

// generation takes the lease of a generation, writes it, and makes sure that it is the latest.
func (t *Tier) generation(ctx context.Context, b objectstore.Bucket, r *record, n uint64, c *store.Copy) error {
	began := time.Now()
	text, err := json.Marshal(lease{Holder: t.holder, Term: t.term().Seconds(), Since: began.UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	err = b.Create(ctx, t.leaseKey(r.place, n), strings.NewReader(string(text)))
	if errors.Is(err, objectstore.ErrExists) {
		return errLeased // or it is ours, and the answer to the first try was lost: the next look tells
	}
	if err != nil {
		return fmt.Errorf("cannot take the lease: %w", err)
	}
	key := t.dataKey(r.place, n, c.Sum)
	err = b.Create(ctx, key, io.NewSectionReader(c, 0, c.Size))
	if err != nil && !errors.Is(err, objectstore.ErrExists) { // it has our sum: it is ours
		return fmt.Errorf("cannot write generation %d: %w", n, err)
	}
	h, err := t.list(ctx, b, r.place)
	if err != nil {
		return fmt.Errorf("cannot see whether generation %d is the latest: %w", n, err)
	}
	var own *object
	overtaken := false
	for i := range h.objects {
		switch o := &h.objects[i]; {
		case o.Key == key:
			own = o
		case o.generation >= n && o.kind != leased:
			overtaken = true
		}
	}
	if overtaken || own == nil {
		if err := b.Remove(ctx, key); err != nil {
			return fmt.Errorf("cannot remove generation %d, which was overtaken: %w", n, err)
		}
		return errLost
	}
	t.know(r, own, contentOf(c))
	t.opt.Metrics.written.Inc()
	t.opt.Metrics.write.Update(time.Since(began).Seconds())
	for _, o := range h.objects {
		if o.generation < n && o.kind != gone { // those stay until every pod must have seen them
			if err := b.Remove(ctx, o.Key); err != nil {
				break // the next write or a survey removes it
			}
		}
	}
	return nil
}

// compare says whether what is here is to go before what the store has: it goes on from it, or it
// is another conversation and was used later.
func (t *Tier) compare(ctx context.Context, b objectstore.Bucket, r *record, o object, c *store.Copy) error {
	theirs, err := t.contentOf(ctx, b, r, o)
	if err != nil {
		return err
	}
	switch ours := contentOf(c); {
	case theirs.tokens == 0: // it is no good, or was replaced
		return nil
	case theirs.tokens == ours.tokens && theirs.hash == ours.hash:
		return errSuperseded
	case theirs.begins(c.Tokens):
		return nil
	case ours.tokens < theirs.tokens && t.isPrefix(ctx, b, r, o, ours):
		return errSuperseded
	case ours.lastUse.After(theirs.lastUse):
		return nil
	}
	return errSuperseded
}

// contentOf returns what an object holds, from memory if it was seen before. It is nothing for
// one that is bad or not there any more.
func (t *Tier) contentOf(ctx context.Context, b objectstore.Bucket, r *record, o object) (content, error) {
	t.mu.Lock()
	known, same := r.top, r.sum == o.sum && r.generation == o.generation
	t.mu.Unlock()
	if same && known.tokens > 0 {
		return known, nil
	}
	c, err := t.inspect(ctx, b, r, o)
	if c == nil {
		return content{}, err
	}
	seen := contentOf(c)
	t.know(r, &o, seen)
	return seen, nil
}

// inspect reads what an object holds, without its blocks. It is nil for one that is bad, which is
// counted, or not there any more.
func (t *Tier) inspect(ctx context.Context, b objectstore.Bucket, r *record, o object) (*store.Copy, error) {
	c, err := t.opt.Disk.Inspect(r.tenant, r.id, &ranges{ctx, b, o.Key}, o.Size)
	if fe, bad := errors.AsType[*store.FileError](err); bad {
		t.refuse(r, o, fe)
		return nil, nil
	}
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil, nil
	}
	return c, err
}

// isPrefix says whether what the store has begins with what is here.
func (t *Tier) isPrefix(ctx context.Context, b objectstore.Bucket, r *record, o object, ours content) bool {
	c, err := t.inspect(ctx, b, r, o)
	return err == nil && c != nil && ours.begins(c.Tokens)
}

// waitForRival returns errLeased while another process may be writing.
func (t *Tier) waitForRival(ctx context.Context, b objectstore.Bucket, r *record, h *history) error {
	last := uint64(0)
	if h.latest != nil {
		last = h.latest.generation
	}
	if h.highest == last {
		return nil
	}
	t.mu.Lock()
	rival := r.rival
	t.mu.Unlock()
	if rival.generation != h.highest {
		l, err := t.readLease(ctx, b, t.leaseKey(r.place, h.highest))
		if errors.Is(err, objectstore.ErrNotFound) {
			return errLeased // it was just removed; look again
		}
		if err != nil {
			return fmt.Errorf("cannot read the lease: %w", err)
		}
		rival.generation, rival.holder, rival.seen, rival.term = h.highest, l.Holder, time.Now(), time.Duration(l.Term*float64(time.Second))
		t.mu.Lock()
		r.rival = rival
		t.mu.Unlock()
	}
	if rival.holder != t.holder && time.Since(rival.seen) < rival.term {
		return errLeased
	}
	return nil
}

const (
	maxLease = 4 << 10   // bytes
	maxTerm  = time.Hour // that a lease is believed
)

// readLease reads who holds a generation. One that cannot be read is held for as long as ours are.
func (t *Tier) readLease(ctx context.Context, b objectstore.Bucket, key string) (lease, error) {
	r, err := b.Open(ctx, key, 0, -1)
	if err != nil {
		return lease{}, err
	}
	defer func() { _ = r.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(r, maxLease))
	if err != nil {
		return lease{}, err
	}
	var l lease
	if json.Unmarshal(text, &l) != nil || l.Holder == "" || !(l.Term >= 0 && l.Term <= maxTerm.Seconds()) {
		l = lease{Holder: "unknown", Term: t.term().Seconds()}
	}
	return l, nil
}

// know notes what the store has of an agent.
func (t *Tier) know(r *record, o *object, c content) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.saw(o)
	r.top = c
}

// list returns an agent's objects.
func (t *Tier) list(ctx context.Context, b objectstore.Bucket, place string) (*history, error) {
	prefix := t.root + place + "/"
	all, err := b.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("cannot list the agent's objects: %w", err)
	}
	h := &history{}
	for _, o := range all {
		if obj, ok := readName(o, strings.TrimPrefix(o.Key, prefix)); ok {
			h.add(obj)
		}
	}
	h.settle()
	return h, nil
}

// ranges reads parts of an object.
type ranges struct {
	ctx context.Context
	b   objectstore.Bucket
	key string
}

func (r *ranges) ReadAt(p []byte, at int64) (int, error) {
	body, err := r.b.Open(r.ctx, r.key, at, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // it is only read
	n, err := io.ReadFull(body, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
