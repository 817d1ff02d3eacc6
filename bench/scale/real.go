package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// run plays the turns to real pods, at the same times and by the same router.
func run(p plan, s setting, turns []turn, mark uint64) (all []served, poolUse float64, err error) {
	pods, err := startPods(p, s.pods)
	if err != nil {
		return nil, 0, err
	}
	defer killPods(pods)
	for _, q := range pods { // a first request finds its way more slowly
		if _, err := q.ask("", (&prompts{used: mark << 20}).of(64), 4); err != nil {
			return nil, 0, err
		}
	}
	all = make([]served, len(turns))
	route, errs := newRouter(s.routing, s.pods), make([]error, len(turns))
	over := map[int]chan struct{}{} // of each conversation's latest turn
	began := time.Now()
	stop := make(chan struct{})
	var watching, talking sync.WaitGroup
	watching.Go(func() { poolUse = watchPools(pods, stop) })
	for i := range turns {
		t := &turns[i]
		before, mine := over[t.conversation], make(chan struct{})
		over[t.conversation] = mine
		talking.Go(func() {
			defer close(mine)
			prompt := t.tokens(s.load, mark)
			time.Sleep(time.Until(began.Add(time.Duration(t.at * float64(time.Second)))))
			if before != nil {
				<-before
			}
			errs[i] = realTurn(pods, route, t, prompt, began, &all[i])
		})
	}
	time.Sleep(time.Until(began.Add(time.Duration(s.seconds * float64(time.Second)))))
	close(stop)
	watching.Wait()
	talking.Wait()
	return all, poolUse, errors.Join(errs...)
}

func realTurn(pods []*pod, route *router, t *turn, prompt []int32, began time.Time, out *served) error {
	out.pod, out.prompt = route.choose(t), t.prompt()
	defer route.done(out.pod)
	out.sent = time.Since(began).Seconds()
	a, err := pods[out.pod].ask(fmt.Sprintf("agent-%d", t.conversation), prompt, t.answer)
	if err != nil {
		return fmt.Errorf("turn %d of agent %d: %w", len(t.prompts), t.conversation, err)
	}
	out.ttft, out.took, out.cached = a.times[0].Seconds(), a.took.Seconds(), a.cached
	return nil
}

// watchPools returns the mean of what the pods say about their pools. What they say is
// a quarter of a second old at most.
func watchPools(pods []*pod, stop <-chan struct{}) float64 {
	var sum float64
	n := 0
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return sum / float64(max(n, 1))
		case <-tick.C:
			for _, q := range pods {
				if use, err := q.poolUse(); err == nil {
					sum, n = sum+use, n+1
				}
			}
		}
	}
}
