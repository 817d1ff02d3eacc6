package main

import (
	"errors"
	"fmt"
	"time"
)

const shortTurns = 60

// short plays turns one after the other to two real pods, whose pools are too small for
// the agents, and holds the tokens that each found cached against those of the simulation:
// they must be the same. Times are not looked at, so that it can run anywhere.
func short(p plan) error {
	p.cgroup, p.shape.Blocks = "", 64
	s := setting{pods: 2, routing: random, seconds: shortTurns, load: p.load, shape: p.shape, service: &service{Rows: []int{1, 2}, Step: []float64{1e-3, 2e-3}}}
	turns := turnsOf(s.load, s.pods, s.seconds, p.seed)
	if len(turns) < shortTurns {
		return fmt.Errorf("%d turns are too few", len(turns))
	}
	turns = turns[:shortTurns]
	for i := range turns {
		turns[i].at = float64(i)
	}
	want, _ := simulate(s, turns)
	pods, err := startPods(p, s.pods)
	if err != nil {
		return err
	}
	defer killPods(pods)
	route, began := newRouter(s.routing, s.pods), time.Now()
	wrong := error(nil)
	hits := 0
	for i := range turns {
		var got served
		if err := realTurn(pods, route, &turns[i], turns[i].tokens(s.load, 1), began, &got); err != nil {
			return err
		}
		if got.pod != want[i].pod || got.prompt != want[i].prompt || got.cached != want[i].cached {
			wrong = errors.Join(wrong, fmt.Errorf("turn %d of agent %d: pod %d had %d of %d tokens, in the simulation pod %d %d of %d",
				len(turns[i].prompts), turns[i].conversation, got.pod, got.cached, got.prompt, want[i].pod, want[i].cached, want[i].prompt))
		}
		if got.cached > s.load.Shared {
			hits++
		}
	}
	evictions := 0.0
	for _, q := range pods {
		n, err := q.metric(`semantic_eviction_total{tier="hot"}`)
		if err != nil {
			return err
		}
		evictions += n
	}
	if hits < shortTurns/5 || evictions < 3 {
		wrong = errors.Join(wrong, fmt.Errorf("%d turns found what their agent said before and %g agents were evicted: too few to tell", hits, evictions))
	}
	if wrong == nil {
		fmt.Printf("%d turns on %d pods: each found as many tokens cached as was predicted; %d found their agent's, %g agents were evicted\n", shortTurns, s.pods, hits, evictions)
	}
	return wrong
}
