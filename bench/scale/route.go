package main

import "sync"

// The ways to choose a pod for a turn.
const (
	affinity   = "prefix affinity" // as engine/upstream does: rendezvous hashing of the agent, with bounded load
	leastQueue = "least queue"     // the pod with the fewest requests under way
	random     = "random"
)

var routings = []string{affinity, leastQueue, random}

// router chooses pods, for simulated and for real ones.
type router struct {
	routing  string
	mu       sync.Mutex
	inFlight []int
	total    int
}

func newRouter(routing string, pods int) *router {
	return &router{routing: routing, inFlight: make([]int, pods)}
}

func (r *router) choose(t *turn) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	pod := r.pick(t)
	r.inFlight[pod]++
	r.total++
	return pod
}

func (r *router) done(pod int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight[pod]--
	r.total--
}

func (r *router) pick(t *turn) int {
	pods := len(r.inFlight)
	chance := int(mix(uint64(t.conversation), uint64(len(t.prompts)), 7) % uint64(pods))
	switch r.routing {
	case affinity:
		return r.nearest(uint64(t.conversation))
	case leastQueue:
		best := chance // of several, any
		for i := range pods {
			if p := (chance + i) % pods; r.inFlight[p] < r.inFlight[best] {
				best = p
			}
		}
		return best
	}
	return chance
}

// nearest is the pod that comes first for an agent, of those that are not much busier
// than the mean.
func (r *router) nearest(agent uint64) int {
	bound := (r.total+1)*5/(4*len(r.inFlight)) + 2
	best, bestScore := -1, uint64(0)
	for p, n := range r.inFlight {
		if score := mix(agent, uint64(p)); n < bound && (best < 0 || score > bestScore) {
			best, bestScore = p, score
		}
	}
	return best
}
