package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/pool"
	"github.com/semantic-pod/semantic/engine/store"
)

// Bounds on what the list of all agents holds.
const (
	maxShownAgents = 500
	maxShownBlocks = 1024 // numbers of one agent's blocks
	evictPoll      = 10 * time.Millisecond
)

// errNoRoom is why an agent stays on disk.
var errNoRoom = errors.New("the KV pool has no room for the agent; raise --kv-memory, or evict others first")

// podAgentKeeper is a backend whose agents of all tenants the pod itself looks after.
type podAgentKeeper interface {
	agentKeeper
	allAgents(ctx context.Context) (api.AgentList, error)
	// evict takes an agent out of memory, to the disk if there is one. It is false if it is not in memory.
	evict(ctx context.Context, tenant, id string) (bool, error)
	// restore brings an agent from disk into memory. It is false if it is not on disk.
	restore(ctx context.Context, tenant, id string) (bool, error)
}

// findPodAgent reads /internal/agents/{tenant}/{id}, with /evict or /restore behind it.
func (e *Engine) findPodAgent(x *exchange, rest string) (route, bool) {
	parts := strings.Split(rest, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return route{}, false
	}
	tenant, err1 := url.PathUnescape(parts[0])
	id, err2 := url.PathUnescape(parts[1])
	if err1 != nil || err2 != nil || tenant == "" || !validAgentID(id) {
		return route{}, false
	}
	x.tenant, x.agent = tenant, id
	action := ""
	if len(parts) == 3 {
		action = "/" + parts[2]
	}
	x.template = api.PathAgents + "/{tenant}/{id}" + action
	served := map[string]methods{
		"":         {http.MethodDelete: e.deleteAgent},
		"/evict":   {http.MethodPost: e.orderAgent("evict", podAgentKeeper.evict)},
		"/restore": {http.MethodPost: e.orderAgent("restore", podAgentKeeper.restore)},
	}[action]
	return route{method: x.r.Method, serve: served.serve, internal: true}, served != nil
}

// podKeeper returns what has the agents of all tenants, or has answered why nothing does.
func (x *exchange) podKeeper() (podAgentKeeper, bool) {
	k, ok := x.keeper()
	if !ok {
		return nil, false
	}
	all, ok := k.(podAgentKeeper)
	if !ok {
		x.fail(&api.Error{Status: http.StatusNotImplemented, Code: "unsupported", Message: "this engine's backend does not keep the memory of agents"})
	}
	return all, ok
}

// listPodAgents answers GET /internal/agents.
func (e *Engine) listPodAgents(x *exchange) {
	k, ok := x.podKeeper()
	if !ok {
		return
	}
	ctx, cancel := x.within()
	defer cancel()
	list, err := k.allAgents(ctx)
	if err != nil {
		x.failAgent(err)
		return
	}
	x.marshal(list)
}

// orderAgent answers an order to move an agent between tiers.
func (e *Engine) orderAgent(name string, run func(k podAgentKeeper, ctx context.Context, tenant, id string) (bool, error)) func(*exchange) {
	return func(x *exchange) {
		k, ok := x.podKeeper()
		if !ok {
			return
		}
		ctx, cancel := x.within()
		defer cancel()
		done, err := run(k, ctx, x.tenant, x.agent)
		switch {
		case errors.Is(err, errNoRoom):
			x.fail(&api.Error{Status: http.StatusConflict, Code: "pool_full", Message: err.Error()})
		case err != nil:
			x.failAgent(err)
		case !done:
			x.fail(errNoAgent(x.agent))
		default:
			e.log.Zap().Info("an agent was moved by order", zap.String("order", name), zap.String("tenant", x.tenant), zap.String("agent", x.agent))
			x.marshal(struct {
				ID   string `json:"id"`
				Done string `json:"done"`
			}{x.agent, name})
		}
	}
}

// allAgents lists the agents of every tenant, those used last first.
func (n *native) allAgents(ctx context.Context) (api.AgentList, error) {
	s := n.scheduler
	l, err := inquire(ctx, s, func() api.AgentList {
		l := api.AgentList{BlockTokens: model.BlockTokens, Blocks: s.blocks.Total(), Used: s.blocks.Used(), Cached: s.blocks.Cached()}
		for _, a := range s.agents.known {
			blocks := a.chain.Blocks()
			l.Agents = append(l.Agents, api.Agent{
				Tenant: a.tenant, ID: a.id, Tier: "hot", Tokens: len(a.tokens), Bytes: int64(len(blocks)) * int64(s.kv.BlockBytes()),
				Hits: a.hits, Created: a.created, LastUsed: a.used, Blocks: slices.Clone(blocks[:min(len(blocks), maxShownBlocks)]),
			})
		}
		return l
	})
	if err != nil {
		return l, err
	}
	hot := map[agentName]bool{}
	for _, a := range l.Agents {
		hot[agentName{a.Tenant, a.ID}] = true
	}
	if n.disk != nil {
		for _, i := range n.disk.store.List() {
			if !hot[agentName{i.Tenant, i.ID}] {
				l.Agents = append(l.Agents, api.Agent{Tenant: i.Tenant, ID: i.ID, Tier: "warm", Tokens: i.Tokens, Bytes: i.Bytes, Created: i.Created, LastUsed: i.LastUse})
			}
		}
	}
	if n.cold != nil {
		n.listCold(&l)
	}
	slices.SortFunc(l.Agents, func(a, b api.Agent) int {
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
	})
	l.Total = len(l.Agents)
	l.Agents = l.Agents[:min(l.Total, maxShownAgents)]
	return l, nil
}

// evict writes the agent to disk if that lacks it, and takes its blocks.
func (n *native) evict(ctx context.Context, tenant, id string) (bool, error) {
	s, name := n.scheduler, agentName{tenant, id}
	was := false
	for {
		gone, err := inquire(ctx, s, func() bool {
			a := s.agents.known[name]
			switch {
			case a == nil:
				return true
			case a.dirty || a.writing:
				if !a.writing {
					s.write(a) // a writer that has enough to do is asked again
				}
				was = true
				return false
			}
			was = true
			s.evict(a)
			s.settle()
			return true
		})
		if err != nil || gone {
			return was, err
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("the agent was not written to disk in time: %w", context.Cause(ctx))
		case <-time.After(evictPoll):
		}
	}
}

// restore reads an agent's file into blocks of the pool. The loop gives the blocks and
// takes the agent; the reading is off its path.
func (n *native) restore(ctx context.Context, tenant, id string) (bool, error) {
	if n.disk == nil {
		return false, nil
	}
	if _, onDisk := n.disk.store.Get(tenant, id); !onDisk && n.cold != nil {
		n.cold.Fetch(ctx, tenant, id)
	}
	r, err := n.disk.store.OpenAgent(tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }()
	s, name := n.scheduler, agentName{tenant, id}
	tokens := slices.Clone(r.Tokens()[:r.Blocks()*model.BlockTokens])
	var chain pool.Chain
	known, grown := false, false
	if _, err := inquire(ctx, s, func() bool {
		known = s.agents.known[name] != nil
		chain = s.blocks.NewChain()
		grown = !known && s.room(r.Blocks()) && chain.Grow(len(tokens))
		return grown
	}); err != nil || known {
		return known, err // what is in memory is the newest
	}
	if !grown {
		return false, errNoRoom
	}
	views := make([][]byte, r.Blocks())
	for i, b := range chain.Blocks() {
		views[i] = s.kv.Block(b)
	}
	began := time.Now()
	err = r.Restore(ctx, 0, views)
	s.metrics.restore.Update(time.Since(began).Seconds())
	// The blocks go back or to the agent whether or not the asker still waits.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), agentTimeout)
	defer cancel()
	_, lost := inquire(late, s, func() bool {
		defer s.settle()
		if err != nil || s.agents.known[name] != nil {
			chain.Discard()
			return false
		}
		s.welcome(name, chain, tokens, n.lineage.root(tenant))
		return true
	})
	return err == nil, errors.Join(err, lost)
}

// welcome makes a chain of restored blocks an agent's own.
func (s *scheduler) welcome(name agentName, chain pool.Chain, tokens []int32, root pool.Key) {
	now := time.Now()
	keys := extend(nil, root, tokens)
	for i, key := range keys {
		chain.Seal(i, key)
	}
	a := s.agents.take(name, now)
	if info, ok := s.disk.store.Get(name.tenant, name.id); ok {
		a.created = info.Created
	}
	a.chain = chain.Keep(len(keys))
	a.tokens, a.version = tokens, 1
	chain.Release()
}
