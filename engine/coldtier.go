package engine

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/model"
)

// recallWorth is how many tokens of a prompt this pod must lack for its agent to be looked for in
// the cold store: what a turn adds to a conversation is computed sooner than it is asked for.
const recallWorth = 4 * model.BlockTokens

// openCold opens the tier of agents that pods share, if there is one.
func (n *native) openCold(cfg Config, m *metrics) {
	if cfg.ColdStore == "" {
		return
	}
	s := n.scheduler
	n.cold = cold.Open(cold.Options{
		Address: cfg.ColdStore, Timeout: cfg.ColdTimeout, Patience: cfg.ColdPatience, Quota: int64(cfg.ColdQuota), TTL: cfg.CacheTTL,
		Disk: n.disk.store, Metrics: m.cold, Log: s.log, Forget: n.forgetHere,
		Idle: func() { s.post(func() { s.writeIdle(cfg.ColdAfter) }) },
	})
	s.cold = n.cold
}

// forgetHere drops an agent from memory and disk that was deleted on another pod.
func (n *native) forgetHere(ctx context.Context, tenant, id string) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	_, err := inquire(ctx, n.scheduler, func() bool { return n.scheduler.forget(agentName{tenant, id}) })
	_, removed := n.disk.remove(ctx, tenant, id)
	if err := errors.Join(err, removed); err != nil {
		n.scheduler.log.Warn("an agent that was deleted on another pod could not be dropped here", zap.Error(err), zap.String("tenant", tenant), zap.String("agent", id))
	}
}

// recall fetches a request's agent to this disk if the cold store may have more of the prompt
// than this pod, and says whether it did. It waits on the request's own goroutine, before the
// queue: no seat in the batch and no block waits with it.
func (n *native) recall(ctx context.Context, a admission, tokens []int32) bool {
	if n.cold == nil || a.agent == "" || len(tokens)-1-n.cold.Covers(a.tenant, a.agent, tokens) < recallWorth {
		return false
	}
	return n.cold.Fetch(ctx, a.tenant, a.agent)
}

// writeIdle gives the agents to the writer that were not used for a while and that the disk
// lacks; from there they go to the cold store.
func (s *scheduler) writeIdle(after time.Duration) {
	now := time.Now()
	for a := range s.agents.byAge() {
		if now.Sub(a.used) < after || a.dirty && !a.writing && !s.write(a) {
			return
		}
	}
}

// coldAgents adds those that are in the cold store alone. Of all of a tenant's only those are
// known that this pod wrote or came across; one that is asked for by its id is looked for.
func (n *native) coldAgents(ctx context.Context, list []agentInfo, tenant, id string) ([]agentInfo, error) {
	if id == "" {
		for _, a := range n.cold.Known() {
			if a.Tenant == tenant {
				list = append(list, coldInfo(a))
			}
		}
		return list, nil
	}
	if len(list) > 0 {
		return list, nil // it is here, and dropped soon if it was deleted elsewhere
	}
	a, there, err := n.cold.Look(ctx, tenant, id)
	if there {
		list = append(list, coldInfo(a))
	}
	return list, err
}

func coldInfo(a cold.Agent) agentInfo {
	return agentInfo{
		ID: a.ID, Object: "agent", Tier: "cold", Tokens: a.Tokens, Bytes: a.Bytes,
		Created: a.Changed.Unix(), LastUsed: a.Changed.Unix(),
	}
}

// listCold adds the agents that are in the cold store alone, and how that is.
func (n *native) listCold(l *api.AgentList) {
	state := n.cold.State()
	l.Cold = &api.ColdStore{Up: state.Up, Pending: state.Pending, LagSeconds: state.Lag.Seconds()}
	here := map[agentName]bool{}
	for _, a := range l.Agents {
		here[agentName{a.Tenant, a.ID}] = true
	}
	for _, a := range n.cold.Known() {
		if !here[agentName{a.Tenant, a.ID}] {
			l.Agents = append(l.Agents, api.Agent{Tenant: a.Tenant, ID: a.ID, Tier: "cold", Tokens: a.Tokens, Bytes: a.Bytes, Created: a.Changed, LastUsed: a.Changed})
		}
	}
}

// tellCold logs what became of the agents that the cold store lacked when the engine stopped.
func (n *native) tellCold(p persisted) {
	log := n.scheduler.log.Info
	if p.cold.Left > 0 || p.coldErr != nil {
		log = n.scheduler.log.Warn
	}
	log("agents written to the cold store", zap.Int("waiting", p.cold.Waiting), zap.Int("written", p.cold.Written), zap.Int("left", p.cold.Left), zap.Error(p.coldErr))
}
