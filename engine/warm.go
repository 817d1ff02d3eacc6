package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/store"
)

const (
	loaders    = 2  // goroutines that read agents from disk
	writeDepth = 16 // agents that may wait for the writer
	behind     = 8  // below one in so many free blocks, agents are written ahead of need
)

// warm is the tier of agents on disk: what writes them and what reads them, both off
// the scheduler's loop.
type warm struct {
	store   *store.Store
	queue   *store.Queue
	loads   chan *sequence // to be restored
	loading sync.WaitGroup
}

// openWarm opens the folder of agents of this model.
func openWarm(cfg Config, n *native, m *metrics, log *zap.Logger) (*warm, error) {
	var key []byte
	if cfg.CacheKeyFile != "" {
		var err error
		if key, err = store.ReadKeyFile(cfg.CacheKeyFile); err != nil {
			return nil, err
		}
	}
	c := n.model.Config()
	s, err := store.Open(cfg.CacheDir, store.Options{
		Fingerprint: n.lineage.fingerprint, KVType: n.lineage.kvType, Key: key, Metrics: m.disk,
		Quota: int64(cfg.CacheDisk), TTL: cfg.CacheTTL,
		Geometry: store.Geometry{Layers: c.Layers, KVDim: c.KVHeads * c.HeadDim, BlockTokens: model.BlockTokens, BlockBytes: n.kv.BlockBytes()},
	})
	if err != nil {
		return nil, fmt.Errorf("--cache-dir=%s: %w", cfg.CacheDir, err)
	}
	log.Info("agents on disk were found", zap.Int("agents", len(s.List())), zap.Int64("bytes", s.Used()))
	return &warm{store: s, queue: store.NewQueue(s, writeDepth, cfg.PersistTimeout), loads: make(chan *sequence, cfg.MaxBatch)}, nil
}

// start lets the loaders work for a scheduler.
func (w *warm) start(s *scheduler) {
	for range loaders {
		w.loading.Go(func() {
			for seq := range w.loads {
				began := time.Now()
				blocks, err := w.load(seq, s)
				if blocks > 0 {
					s.metrics.restore.Update(time.Since(began).Seconds())
				}
				s.post(func() { s.restored(seq, blocks, err) })
			}
		})
	}
}

// load reads what an agent's file has in common with a sequence's tokens into the
// blocks that the sequence has beyond those it adopted. It returns how many.
func (w *warm) load(seq *sequence, s *scheduler) (int, error) {
	select {
	case <-s.stopping:
		return 0, nil
	default:
	}
	r, err := w.store.OpenAgent(seq.tenant, seq.agent)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	have := r.Tokens()
	common := 0
	for common < len(have) && common < len(seq.tokens)-1 && have[common] == seq.tokens[common] {
		common++
	}
	blocks := min(common/model.BlockTokens, r.Blocks()) - seq.sealed
	if blocks <= 0 {
		return 0, nil
	}
	views := make([][]byte, blocks)
	for i := range views {
		views[i] = s.kv.Block(seq.chain.Blocks()[seq.sealed+i])
	}
	if err := r.Restore(seq.ctx, seq.sealed, views); err != nil {
		return 0, err
	}
	return blocks, nil
}

// fetch sends a sequence to the loaders if the disk has more of its agent than the
// pool. It has its blocks, and does not run until they are filled.
func (s *scheduler) fetch(seq *sequence) bool {
	if s.disk == nil || seq.agent == "" || seq.admitted || seq.sealed == len(seq.reusable()) {
		return false
	}
	info, ok := s.disk.store.Get(seq.tenant, seq.agent)
	if !ok || info.Tokens/model.BlockTokens <= seq.sealed {
		return false
	}
	s.restoring = append(s.restoring, seq)
	s.disk.loads <- seq // has room for as many as --max-batch lets in
	return true
}

// restored takes a sequence that was with the loaders into the batch. What could not
// be read is computed.
func (s *scheduler) restored(seq *sequence, blocks int, err error) {
	s.restoring = slices.DeleteFunc(s.restoring, func(other *sequence) bool { return other == seq })
	s.lastStep.Store(time.Now().UnixNano())
	if err != nil && seq.ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		s.log.Warn("an agent could not be read from disk; its prompt is computed", zap.Error(err), zap.String("tenant", seq.tenant), zap.String("agent", seq.agent))
	}
	seq.computed += blocks * model.BlockTokens
	seq.warm = blocks > 0
	seq.seal()
	if seq.ctx.Err() != nil {
		s.end(seq, nil)
		s.settle()
		return
	}
	s.join(seq)
	s.settle()
}

// writeBack gives agents to the writer, those used longest ago first, until what is
// free or can soon be had makes up so many blocks.
func (s *scheduler) writeBack(blocks int) {
	if s.disk == nil {
		return
	}
	have := s.blocks.Free()
	for a := range s.agents.byAge() {
		if have >= blocks || a.dirty && !a.writing && !s.write(a) {
			return
		}
		have += len(a.chain.Blocks())
	}
}

// writeAhead keeps some of the pool easy to free, so that few have to wait for the
// disk when memory is short.
func (s *scheduler) writeAhead() {
	if reserve := s.blocks.Total() / behind; s.disk != nil && s.blocks.Free() < reserve {
		s.writeBack(reserve)
	}
}

// write gives an agent to the writer, which reads its blocks where they are: a chain
// of its own keeps them meanwhile. It is false when the writer has enough to do.
func (s *scheduler) write(a *agent) bool {
	held := a.chain.Keep(len(a.chain.Blocks()))
	version := a.version
	ok := s.disk.queue.TryEnqueue(s.job(a, func(err error) {
		s.post(func() {
			if s.agents.known[a.agentName] == a {
				held.Release()
			} else {
				held.Discard() // it was deleted meanwhile
			}
			s.written(a, version, err)
			if err == nil && s.cold != nil && s.agents.known[a.agentName] == a {
				s.cold.Wrote(a.tenant, a.id, !a.dirty)
			}
		})
	}))
	if !ok {
		held.Release()
		return false
	}
	a.writing = true
	return true
}

func (s *scheduler) job(a *agent, done func(error)) store.Job {
	views := make([][]byte, len(a.chain.Blocks()))
	for i, b := range a.chain.Blocks() {
		views[i] = s.kv.Block(b)
	}
	return store.Job{Done: done, Agent: store.Agent{
		Tenant: a.tenant, ID: a.id, Tokens: a.tokens, Blocks: views, Created: a.created, LastUse: a.used,
	}}
}

// written notes what became of a write. An agent that cannot be written can be
// evicted all the same: its next turn is computed.
func (s *scheduler) written(a *agent, version int, err error) {
	a.writing = false
	if a.version == version && !errors.Is(err, store.ErrSuperseded) {
		a.dirty = false
	}
	if we, ok := errors.AsType[*store.WriteError](err); ok {
		s.log.Warn("an agent could not be written to disk", zap.Error(we), zap.String("tenant", a.tenant), zap.String("agent", a.id))
	}
}

// persisted is what became of the agents in memory when the engine stopped.
type persisted struct {
	dirty, written, failed, left int
	cold                         cold.Tally // of those that the cold store lacked
	coldErr                      error
}

// persist writes every agent that the disk lacks, the one used last first, until ctx
// ends. The loop has been joined.
func (s *scheduler) persist(ctx context.Context) (p persisted, err error) {
	close(s.disk.loads)
	s.disk.loading.Wait() // the loop let none of them be in the middle of a file
	s.readMail()
	var mu sync.Mutex
	for place := s.agents.recency.Front(); place != nil; place = place.Next() {
		a := place.Value.(*agent)
		if !a.dirty {
			continue
		}
		p.dirty++
		if err != nil {
			continue
		}
		err = s.disk.queue.Enqueue(ctx, s.job(a, func(failed error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed == nil:
				p.written++
				if s.cold != nil {
					s.cold.Wrote(a.tenant, a.id, true)
				}
			case !errors.Is(failed, context.DeadlineExceeded):
				p.failed++
			}
		}))
	}
	_, closed := s.disk.queue.Close(ctx)
	if s.cold != nil {
		p.cold, p.coldErr = s.cold.Close(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	p.left = p.dirty - p.written - p.failed
	if closed != nil {
		return p, closed // the writer still reads the blocks
	}
	return p, s.disk.store.Close()
}

// agents returns a tenant's agents on disk; with an id, that one alone.
func (w *warm) agents(tenant, id string) []agentInfo {
	var found []store.Info
	if id != "" {
		if info, ok := w.store.Get(tenant, id); ok {
			found = append(found, info)
		}
	} else {
		found = w.store.List()
	}
	var list []agentInfo
	for _, info := range found {
		if info.Tenant == tenant {
			list = append(list, agentInfo{
				ID: info.ID, Object: "agent", Tier: "warm", Tokens: info.Tokens, Bytes: info.Bytes,
				Created: info.Created.Unix(), LastUsed: info.LastUse.Unix(),
			})
		}
	}
	return list
}

// remove deletes an agent from disk, and keeps a write of it from bringing it back.
func (w *warm) remove(ctx context.Context, tenant, id string) (bool, error) {
	w.queue.Forget(tenant, id)
	err := w.store.Delete(ctx, tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
