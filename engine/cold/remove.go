package cold

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/objectstore"
)

const (
	watchEvery = 10 * time.Second
	leastGone  = 7 * 24 * time.Hour  // that it is known of a deleted agent that it was
	mostGone   = 30 * 24 * time.Hour // the same, where agents are kept for good
	races      = 10                  // with writers of the same agent
)

// goneFor returns for how long a deletion stays known: no file of an agent that was on a pod's
// disk then is kept for longer.
func (t *Tier) goneFor() time.Duration {
	if t.opt.TTL == 0 {
		return mostGone
	}
	return max(t.opt.TTL, leastGone)
}

// Delete deletes an agent in the store, and says whether it was there. What is being written
// meanwhile, by whomever, is overtaken. Other pods drop what they have within watchEvery.
// It returns an error, and the agent may be there still, if the store does not answer.
func (t *Tier) Delete(ctx context.Context, tenant, id string) (bool, error) {
	b, err := t.store()
	if err != nil {
		return false, err
	}
	type answer struct {
		was bool
		err error
	}
	done := make(chan answer, 1)
	if !t.begin(func(ctx context.Context) {
		was, err := t.delete(ctx, b, tenant, id)
		if err != nil {
			t.failed(err)
		}
		done <- answer{was, err}
	}) {
		return false, ErrAway
	}
	select {
	case d := <-done:
		return d.was, d.err
	case <-ctx.Done():
		return false, fmt.Errorf("the cold store did not delete the agent in time: %w", context.Cause(ctx))
	}
}

func (t *Tier) delete(ctx context.Context, b objectstore.Bucket, tenant, id string) (bool, error) {
	t.mu.Lock()
	r := t.record(tenant, id)
	r.pending, r.again, r.hot, r.ahead, r.local = false, false, false, false, content{}
	t.mu.Unlock()
	was := false
	for range races {
		h, err := t.list(ctx, b, r.place)
		if err != nil {
			return false, err
		}
		if len(h.objects) == 0 {
			return false, nil
		}
		n := h.highest + 1
		if h.latest != nil && h.latest.kind == gone && h.latest.generation == h.highest {
			n = h.highest // a deletion that was not brought to its end, or is long over
		} else if err := b.Create(ctx, t.goneKey(r.place, n), strings.NewReader("")); errors.Is(err, objectstore.ErrExists) {
			continue
		} else if err != nil {
			return false, fmt.Errorf("cannot mark the agent as deleted: %w", err)
		}
		t.mu.Lock()
		r.saw(&object{kind: gone, generation: n})
		t.mu.Unlock()
		if err := b.Create(ctx, t.noticeKey(r.place, n, time.Now()), strings.NewReader("")); err != nil && !errors.Is(err, objectstore.ErrExists) {
			return false, fmt.Errorf("cannot tell other pods: %w", err)
		}
		for _, o := range h.objects {
			if o.kind == gone {
				continue
			}
			was = was || o.kind == written
			if err := b.Remove(ctx, o.Key); err != nil {
				return false, fmt.Errorf("cannot remove generation %d: %w", o.generation, err)
			}
		}
		return was, nil
	}
	return false, errors.New("others wrote the agent all the while")
}

// precedes says whether what this pod has of an agent is of before its deletion.
func (t *Tier) precedes(r *record, generation uint64, when time.Time) bool {
	if generation == 0 {
		return false
	}
	info, onDisk := t.opt.Disk.Get(r.tenant, r.id)
	t.mu.Lock()
	defer t.mu.Unlock()
	born := r.born
	if onDisk {
		born = info.Created
	}
	return r.generation < generation && (onDisk || r.hot) && !born.After(when)
}

// drop forgets what this pod has of an agent that was deleted elsewhere.
func (t *Tier) drop(ctx context.Context, r *record, generation uint64) {
	t.mu.Lock()
	r.saw(&object{kind: gone, generation: generation})
	r.hot, r.ahead, r.local, r.again = false, false, content{}, false
	if !r.busy {
		r.pending = false
	}
	t.mu.Unlock()
	t.opt.Forget(ctx, r.tenant, r.id)
	t.opt.Metrics.deleted.Inc()
	t.opt.Log.Info("an agent was dropped, since it was deleted on another pod", zap.String("tenant", r.tenant), zap.String("agent", r.id))
}

// watcher looks for what other pods deleted.
type watcher struct {
	tier *Tier
	last time.Time
	seen map[string]time.Time // notices, by key
}

// look lists the notices of the hour, and of those beside it since clocks differ; at first, all.
func (w *watcher) look() {
	t, now := w.tier, time.Now()
	b, err := t.store()
	if err != nil || now.Sub(w.last) < watchEvery {
		return
	}
	folders := []string{t.hourKey(now.Add(-time.Hour)), t.hourKey(now), t.hourKey(now.Add(time.Hour))}
	if w.last.IsZero() {
		folders = []string{t.root + goneFolder}
	}
	ctx, cancel := context.WithTimeout(t.ctx, callTime)
	defer cancel()
	for _, folder := range folders {
		notices, err := b.List(ctx, folder)
		if err != nil {
			t.failed(fmt.Errorf("cannot see what other pods deleted: %w", err))
			return
		}
		for _, o := range notices {
			w.notice(ctx, o)
		}
	}
	w.last = now
	for key, when := range w.seen {
		if now.Sub(when) > 3*time.Hour { // it is listed no more
			delete(w.seen, key)
		}
	}
}

func (w *watcher) notice(ctx context.Context, o objectstore.Object) {
	if _, seen := w.seen[o.Key]; seen {
		return
	}
	w.seen[o.Key] = time.Now()
	place, generation, ok := readNotice(o.Key)
	if !ok {
		return
	}
	t := w.tier
	info, onDisk := t.opt.Disk.AgentAt(place)
	t.mu.Lock()
	r := t.records[place]
	if r == nil && onDisk {
		r = t.record(info.Tenant, info.ID)
	}
	t.mu.Unlock()
	if r != nil && t.precedes(r, generation, o.Time) {
		t.drop(ctx, r, generation)
	}
}
