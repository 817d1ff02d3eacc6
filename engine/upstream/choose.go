package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"
)

// An upstream whose requests fail one after the other gets none for a while, which
// doubles each time.
const (
	failuresToEject = 3
	firstEjection   = 5 * time.Second
	longestEjection = 2 * time.Minute
)

// acquire chooses an upstream for a request and counts it there. It is nil if none
// that was not tried yet is up.
func (f *Fleet) acquire(affinity string, tried map[*server]bool) *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var fit, rest []*server // rest: better than none
	for _, s := range f.servers {
		switch {
		case s.state != up || tried[s]:
		case now.Before(s.ejected) || now.Before(s.busy):
			rest = append(rest, s)
		default:
			fit = append(fit, s)
		}
	}
	if len(fit) == 0 {
		fit = rest
	}
	if len(fit) == 0 {
		return nil
	}
	s := leastLoaded(fit)
	if affinity != "" {
		s = nearest(fit, affinity)
	}
	s.inFlight++
	return s
}

// leastLoaded returns the upstream with the fewest requests of ours; of several, any.
func leastLoaded(fit []*server) *server {
	best, ties := fit[0], 1
	for _, s := range fit[1:] {
		switch {
		case s.inFlight < best.inFlight:
			best, ties = s, 1
		case s.inFlight == best.inFlight:
			if ties++; rand.IntN(ties) == 0 {
				best = s
			}
		}
	}
	return best
}

// nearest returns the upstream that the affinity's requests go to, by rendezvous
// hashing with bounded load: when an upstream comes or goes only its own move, and
// one that has much more to do than the others passes on what is new.
func nearest(fit []*server, affinity string) *server {
	total := 0
	for _, s := range fit {
		total += s.inFlight
	}
	bound := (total+1)*5/(4*len(fit)) + 2
	var best *server
	var bestScore uint64
	for _, s := range fit {
		score := xxhash.Sum64String(affinity + "\x00" + s.address)
		if s.inFlight < bound && (best == nil || score > bestScore) {
			best, bestScore = s, score
		}
	}
	return best // one at least has no more than the mean, which is below the bound
}

// release takes a request off an upstream's count and learns from how it went.
func (f *Fleet) release(s *server, v verdict, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.inFlight--
	now := time.Now()
	switch v {
	case served:
		s.failures, s.ejections = 0, 0
	case busy:
		s.busy = now.Add(wait)
	case failed:
		if s.failures++; s.failures < failuresToEject || now.Before(s.ejected) {
			return
		}
		s.failures = failuresToEject - 1 // the next one that fails is enough
		out := min(firstEjection<<min(s.ejections, 10), longestEjection)
		s.ejections++
		s.ejected = now.Add(out)
		f.metrics.ejections[s.address].Inc()
		f.log.Warn("upstream ejected: its requests fail", zap.String("upstream", s.address), zap.Duration("for", out))
	case neutral:
	}
}
