package main

import (
	"math"

	"github.com/semantic-pod/semantic/bench/measure"
)

// served is what became of a turn.
type served struct {
	pod                      int
	sent, ttft, took         float64 // seconds
	prompt, cached, restored int     // tokens
}

// setting is one run: so many pods, under a load, by a routing.
type setting struct {
	pods    int
	routing string
	seconds float64 // in which turns come
	load    load
	shape   shape
	service *service
	machine bool // the pods share one, and so slow each other down
}

// simulate plays the turns through the pods. All of them are served.
func simulate(s setting, turns []turn) (all []served, poolUse float64) {
	c := &clock{}
	pods := make([]*simPod, s.pods)
	for i := range pods {
		pods[i] = newSimPod(c, s.shape, s.service, s.load.Shared)
		pods[i].until = s.seconds
		if s.machine {
			pods[i].others = func() int { return computing(pods, pods[i]) }
		}
	}
	route := newRouter(s.routing, s.pods)
	all = make([]served, len(turns))
	waiting := map[int][]func(){} // of a conversation, behind the turn that is under way
	for i := range turns {
		t := &turns[i]
		c.at(t.at, func() {
			send := func() { simulateTurn(c, pods, route, t, &all[i], waiting) }
			if queue, busy := waiting[t.conversation]; busy {
				waiting[t.conversation] = append(queue, send)
				return
			}
			waiting[t.conversation] = nil
			send()
		})
	}
	c.run()
	for _, p := range pods {
		p.count()
		poolUse += p.usedFor / (float64(s.shape.Blocks) * s.seconds * float64(s.pods))
	}
	return all, poolUse
}

func simulateTurn(c *clock, pods []*simPod, route *router, t *turn, out *served, waiting map[int][]func()) {
	out.pod, out.sent, out.prompt = route.choose(t), c.now, t.prompt()
	p := pods[out.pod]
	seq := &sequence{
		turn: t, tokens: t.prompt(),
		first: func() { out.ttft = c.now - out.sent },
		end: func(s *sequence) {
			out.took, out.cached, out.restored = c.now-out.sent, s.cached, s.restored
			route.done(out.pod)
			queue := waiting[t.conversation]
			if len(queue) == 0 {
				delete(waiting, t.conversation)
				return
			}
			waiting[t.conversation] = queue[1:]
			c.after(0, queue[0])
		},
	}
	c.after(p.service.Request, func() { p.submit(seq) })
}

func computing(pods []*simPod, but *simPod) (n int) {
	for _, p := range pods {
		if p != but && p.stepping {
			n++
		}
	}
	return n
}

// figures are what a run comes to.
type figures struct {
	Turns   int     `json:"turns"`
	Mean    float64 `json:"ttft_mean_ms"`
	P50     float64 `json:"ttft_p50_ms"`
	P90     float64 `json:"ttft_p90_ms"`
	P99     float64 `json:"ttft_p99_ms"`
	HitRate float64 `json:"hit_rate_percent"` // prompt tokens that were not computed
	PoolUse float64 `json:"pool_use_percent"` // blocks of requests that run, over the time in which turns came
}

// figuresOf leaves out the turns that were sent before from.
func figuresOf(all []served, poolUse, from float64) figures {
	var ttft []float64
	var sum float64
	prompt, cached := 0, 0
	for _, s := range all {
		if s.sent < from {
			continue
		}
		ttft = append(ttft, 1e3*s.ttft)
		sum += 1e3 * s.ttft
		prompt += s.prompt
		cached += s.cached
	}
	if len(ttft) == 0 {
		return figures{}
	}
	return figures{
		Turns: len(ttft), Mean: tenths(sum / float64(len(ttft))),
		P50: tenths(measure.Percentile(ttft, 50)), P90: tenths(measure.Percentile(ttft, 90)), P99: tenths(measure.Percentile(ttft, 99)),
		HitRate: tenths(100 * float64(cached) / float64(prompt)), PoolUse: tenths(100 * poolUse),
	}
}

func tenths(v float64) float64 { return math.Round(10*v) / 10 }
