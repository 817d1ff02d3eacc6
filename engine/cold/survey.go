package cold

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/objectstore"
)

const (
	surveyEvery = time.Hour
	surveyTime  = 15 * time.Minute
	skew        = 10 * time.Minute // that clocks may differ by before something is deleted too early
	leftover    = 24 * time.Hour   // after which what a crash left is removed
)

// surveyLoop looks at the whole store, at first and then every hour.
func (t *Tier) surveyLoop() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	first, last := true, time.Time{}
	for {
		if b, err := t.store(); err == nil && time.Since(last) > surveyEvery {
			last = time.Now()
			if err := t.survey(b, first); err == nil {
				first = false
			} else {
				t.failed(err)
				last = time.Time{}
			}
		}
		select {
		case <-tick.C:
		case <-t.quit:
			return
		}
	}
}

// survey lists all agents, deletes what is old or too much, and at first finds what an earlier
// process left unwritten on this disk.
func (t *Tier) survey(b objectstore.Bucket, first bool) error {
	ctx, cancel := context.WithTimeout(t.ctx, surveyTime)
	defer cancel()
	all, err := b.List(ctx, rootFolder)
	if err != nil {
		return err
	}
	histories := t.sort(ctx, b, all)
	if first {
		t.catchUp(histories)
	}
	var kept []*history
	for _, h := range histories {
		if !t.tidy(ctx, b, h) {
			kept = append(kept, h)
		}
	}
	t.shrink(ctx, b, kept)
	return context.Cause(ctx)
}

// sort returns the agents by place, those of other models as "space:place". What belongs to
// none is removed once it is old.
func (t *Tier) sort(ctx context.Context, b objectstore.Bucket, all []objectstore.Object) map[string]*history {
	histories := map[string]*history{}
	for _, o := range all {
		parts := strings.Split(strings.TrimPrefix(o.Key, rootFolder), "/")
		space := parts[0]
		age := time.Since(o.Time) - skew
		if len(parts) == 4 && store.IsSpace(space) && store.IsPlace(parts[1]+"/"+parts[2]) {
			if obj, ok := readName(o, parts[3]); ok {
				place := parts[1] + "/" + parts[2]
				if !strings.HasPrefix(o.Key, t.root) {
					place = space + ":" + place
				}
				if histories[place] == nil {
					histories[place] = &history{}
				}
				histories[place].add(obj)
				continue
			}
		}
		isNotice := len(parts) == 4 && parts[1]+"/" == goneFolder
		if isNotice && age > t.goneFor() || !isNotice && age > leftover && (strings.HasSuffix(o.Key, ".part") || space == "proof") {
			_ = b.Remove(ctx, o.Key) // the next survey finds it again
		}
	}
	for _, h := range histories {
		h.settle()
	}
	return histories
}

// catchUp lets those agents on disk be written that the store does not have as they are.
func (t *Tier) catchUp(histories map[string]*history) {
	n := 0
	for _, info := range t.opt.Disk.List() {
		place := t.opt.Disk.Place(info.Tenant, info.ID)
		if h := histories[place]; h != nil {
			if o, there := h.there(); there && t.sumOnDisk(info) == o.sum {
				continue
			}
		}
		t.mu.Lock()
		t.enqueue(t.record(info.Tenant, info.ID))
		t.mu.Unlock()
		n++
	}
	if n > 0 {
		t.opt.Log.Info("agents on disk are not in the cold store yet", zap.Int("agents", n))
		t.nudge()
	}
}

func (t *Tier) sumOnDisk(info store.Info) string {
	c, err := t.opt.Disk.Export(info.Tenant, info.ID)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }() // it was only read
	return c.Sum
}

// tidy removes what of an agent has expired or was overtaken, and says whether nothing is left
// that can be served.
func (t *Tier) tidy(ctx context.Context, b objectstore.Bucket, h *history) bool {
	latest, there := h.there()
	expired := there && t.opt.TTL > 0 && time.Since(latest.Time)-skew > t.opt.TTL
	for _, o := range h.objects {
		age := time.Since(o.Time) - skew
		overtaken := h.latest != nil && o.generation < h.latest.generation
		var old bool
		switch o.kind {
		case gone:
			old = age > t.goneFor()
		case written:
			old = expired || overtaken && age > 0
		case leased:
			old = age > leftover && (expired || h.latest == nil || overtaken)
		}
		if old {
			_ = b.Remove(ctx, o.Key) // the next survey finds it again
		}
	}
	if expired {
		t.opt.Metrics.expired.Inc()
	}
	return expired || !there
}

// shrink deletes the agents that were written longest ago while all together are too much.
func (t *Tier) shrink(ctx context.Context, b objectstore.Bucket, kept []*history) {
	if t.opt.Quota == 0 {
		return
	}
	var used int64
	for _, h := range kept {
		used += h.latest.Size
	}
	slices.SortFunc(kept, func(a, b *history) int { return cmp.Compare(a.latest.Time.UnixNano(), b.latest.Time.UnixNano()) })
	for _, h := range kept {
		if used <= t.opt.Quota {
			return
		}
		for _, o := range h.objects {
			if o.kind != gone && b.Remove(ctx, o.Key) != nil {
				return // the next survey goes on
			}
		}
		used -= h.latest.Size
		t.opt.Metrics.evicted.Inc()
	}
}
