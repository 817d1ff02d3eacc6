package engine

import (
	"container/list"
	"slices"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/pool"
)

// maxAgents bounds the agents that are known in memory. Beyond it the one that was
// used longest ago leaves for the disk.
const maxAgents = 10_000

// agentName is who an agent is. Two tenants may have agents of one id, which have
// nothing to do with each other.
type agentName struct{ tenant, id string }

// agent is a named chain of full KV blocks in the pool: what its last turn read and
// answered. It gives them up when others need them.
type agent struct {
	agentName
	tokens  []int32 // of the chain's blocks
	chain   pool.Chain
	created time.Time
	used    time.Time
	place   *list.Element

	hits    int  // turns whose prompt was not wholly computed
	version int  // of what it holds; rises with each turn
	dirty   bool // it holds what the disk lacks
	writing bool // the writer has it
}

// agents are those in memory. They belong to the scheduler's loop.
type agents struct {
	known   map[agentName]*agent
	recency list.List // the front was used last
	active  atomic.Int64
}

func newAgents() *agents { return &agents{known: map[agentName]*agent{}} }

// take returns the agent of that name, which becomes known if it was not, as the one
// that was used last.
func (t *agents) take(name agentName, now time.Time) *agent {
	a := t.known[name]
	if a == nil {
		a = &agent{agentName: name, created: now}
		a.place = t.recency.PushFront(a)
		t.known[name] = a
		t.active.Store(int64(len(t.known)))
	}
	t.touch(a, now)
	return a
}

func (t *agents) touch(a *agent, now time.Time) {
	a.used = now
	t.recency.MoveToFront(a.place)
}

func (t *agents) drop(a *agent) {
	delete(t.known, a.agentName)
	t.recency.Remove(a.place)
	t.active.Store(int64(len(t.known)))
}

// byAge returns the agents that hold blocks, the one used longest ago first.
func (t *agents) byAge() func(yield func(*agent) bool) {
	return func(yield func(*agent) bool) {
		for place := t.recency.Back(); place != nil; {
			a := place.Value.(*agent)
			place = place.Prev() // before a may be dropped
			if len(a.chain.Blocks()) > 0 && !yield(a) {
				return
			}
		}
	}
}

// keep makes the full blocks of a turn that ended well the agent's own. What the
// agent held before and does not now goes back to the cache.
func (s *scheduler) keep(seq *sequence) {
	if seq.agent == "" || seq.detached.Load() {
		return
	}
	now := time.Now()
	a := s.agents.take(agentName{seq.tenant, seq.agent}, now)
	if a.version == 0 && s.disk != nil {
		if info, ok := s.disk.store.Get(a.tenant, a.id); ok {
			a.created = info.Created
		}
	}
	if seq.cached > 0 {
		a.hits++
	}
	kept := seq.chain.Keep(seq.sealed)
	a.chain.Release()
	a.chain = kept
	a.tokens = slices.Clone(seq.tokens[:seq.sealed*model.BlockTokens])
	a.version++
	a.dirty = s.disk != nil && len(a.tokens) > 0
	if s.cold != nil {
		s.cold.Kept(a.tenant, a.id, a.tokens)
	}
	s.boundAgents()
}

// boundAgents lets the agent that was used longest ago go when there are too many.
func (s *scheduler) boundAgents() {
	for place := s.agents.recency.Back(); place != nil && len(s.agents.known) > maxAgents; {
		a := place.Value.(*agent)
		place = place.Prev()
		if !a.dirty && !a.writing {
			s.evict(a)
		}
	}
}

// expireAgents drops those that were not used within --cache-ttl, with all that only
// they held.
func (s *scheduler) expireAgents(now time.Time) {
	for place := s.agents.recency.Back(); s.cacheTTL > 0 && place != nil; {
		a := place.Value.(*agent)
		place = place.Prev()
		if now.Sub(a.used) < s.cacheTTL {
			return
		}
		if !a.writing {
			a.chain.Discard()
			s.drop(a)
		}
	}
}

// drop takes an agent out of memory.
func (s *scheduler) drop(a *agent) {
	s.agents.drop(a)
	if s.cold != nil {
		s.cold.Left(a.tenant, a.id)
	}
}

// room makes so many blocks free, as far as agents can be evicted for it. Those that
// the disk lacks are given to the writer first: whoever needs their blocks waits
// outside the batch, and the loop goes on.
func (s *scheduler) room(blocks int) bool {
	for s.blocks.Free() < blocks {
		if !s.evictOldest() {
			s.writeBack(blocks)
			return false
		}
	}
	return true
}

// evictOldest takes the blocks of the agent that was used longest ago, of those that
// are on disk as they are, or that no disk is for.
func (s *scheduler) evictOldest() bool {
	for a := range s.agents.byAge() {
		if !a.dirty && !a.writing {
			s.evict(a)
			return true
		}
	}
	return false
}

func (s *scheduler) evict(a *agent) {
	a.chain.Release()
	s.drop(a)
	s.metrics.evictedHot.Inc()
}

// forget drops an agent and all that only it held, and keeps turns that still run
// from bringing it back. It says whether the agent was known here.
func (s *scheduler) forget(name agentName) bool {
	s.mu.Lock()
	for _, seq := range s.turns[name] {
		seq.detached.Store(true)
	}
	s.mu.Unlock()
	a := s.agents.known[name]
	if a == nil {
		return false
	}
	a.chain.Discard()
	s.drop(a)
	return true
}

// beginTurn notes that a turn of an agent is under way. Turns that overlap are in
// conflict, and each answer says so: the one that ends last is kept. The caller holds
// s.mu.
func (s *scheduler) beginTurn(seq *sequence) {
	if seq.agent == "" {
		return
	}
	name := agentName{seq.tenant, seq.agent}
	others := s.turns[name]
	for _, other := range others {
		other.conflict.Store(true)
		seq.conflict.Store(true)
	}
	s.turns[name] = append(others, seq)
}

// endTurn is called with s.mu held.
func (s *scheduler) endTurn(seq *sequence) {
	if seq.agent == "" {
		return
	}
	name := agentName{seq.tenant, seq.agent}
	s.turns[name] = slices.DeleteFunc(s.turns[name], func(other *sequence) bool { return other == seq })
	if len(s.turns[name]) == 0 {
		delete(s.turns, name)
	}
}
