package cold

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/telemetry"
)

// Why an agent was not written. Each is tried again, but one that was superseded.
const (
	failedAway       = "away"       // the store does not answer, or refuses
	failedDeadline   = "deadline"   // it was not done within --cold-timeout
	failedLost       = "lost"       // another pod wrote a later generation meanwhile
	failedSuperseded = "superseded" // the store has a newer state of it, from another pod
	failedDamaged    = "damaged"    // its file on this disk is bad
)

var failures = []string{failedAway, failedDeadline, failedLost, failedSuperseded, failedDamaged}

// Metrics are the series of the cold tier. Like those of the warm one they outlive a tier.
type Metrics struct {
	tier     atomic.Pointer[Tier] // that the gauges are of
	written  *telemetry.Counter
	fetched  *telemetry.Counter
	failures map[string]*telemetry.Counter
	refused  map[store.Reason]*telemetry.Counter
	deleted  *telemetry.Counter
	evicted  *telemetry.Counter
	expired  *telemetry.Counter
	waited   *telemetry.Counter
	write    *telemetry.Histogram
	fetch    *telemetry.Histogram
}

var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// NewMetrics declares the series, each with all its labels.
func NewMetrics(m *telemetry.Metrics) *Metrics {
	own := &Metrics{
		failures: map[string]*telemetry.Counter{}, refused: map[store.Reason]*telemetry.Counter{},
		written: m.Counter("semantic_cold_written_total", "", "States of agents that were written to the cold store."),
		fetched: m.Counter("semantic_cold_fetched_total", "", "Agents that were fetched from the cold store to this disk."),
		deleted: m.Counter("semantic_cold_forgotten_total", "", "Agents that were dropped here since they had been deleted on another pod."),
		evicted: m.Counter("semantic_eviction_total", `tier="cold"`, "Agents that left a tier to make room, by tier."),
		expired: m.Counter("semantic_cold_expired_total", "", "Agents that this pod deleted from the cold store since they were not written within --cache-ttl."),
		waited:  m.Counter("semantic_cold_lease_waits_total", "", "Writes to the cold store that were put off since another pod held the agent's lease."),
		write:   m.Histogram("semantic_cold_write_duration_seconds", "", "Time to write an agent to the cold store, its lease included, in seconds.", buckets),
		fetch:   m.Histogram("semantic_cold_fetch_duration_seconds", "", "Time to look an agent up in the cold store and to fetch it if it was there, in seconds.", buckets),
	}
	for _, r := range failures {
		own.failures[r] = m.Counter("semantic_cold_write_failures_total", fmt.Sprintf(`reason="%s"`, r), "Writes of agents to the cold store that came to nothing, by reason.")
	}
	for _, r := range store.FileReasons {
		own.refused[r] = m.Counter("semantic_cold_refused_total", fmt.Sprintf(`reason="%s"`, r), "Objects of the cold store that were not what they should be and were not served, by reason.")
	}
	m.GaugeFunc("semantic_cold_up", "", "1 while the cold store answers, 0 while it does not; no number without one.", own.up)
	m.GaugeFunc("semantic_cold_pending_agents", "", "Agents whose last turn is not in the cold store yet.", own.pending)
	m.GaugeFunc("semantic_cold_lag_seconds", "", "How long the cold store has been behind, in seconds: for how long it has not answered, or an agent has been due and not written, whichever is longer.", own.lag)
	return own
}

// watch sets whose state the gauges tell.
func (own *Metrics) watch(t *Tier) { own.tier.Store(t) }

func (own *Metrics) up() float64 {
	switch t := own.tier.Load(); {
	case t == nil:
		return math.NaN()
	case t.health.up():
		return 1
	}
	return 0
}

func (own *Metrics) pending() float64 {
	if t := own.tier.Load(); t != nil {
		return float64(t.State().Pending)
	}
	return 0
}

func (own *Metrics) lag() float64 {
	if t := own.tier.Load(); t != nil {
		return t.State().Lag.Seconds()
	}
	return 0
}

// State is how a tier is.
type State struct {
	Up      bool
	Pending int           // agents that wait to be written
	Lag     time.Duration // as semantic_cold_lag_seconds
}

// State tells how the tier is, from memory and at once.
func (t *Tier) State() State {
	now := time.Now()
	s := State{Up: t.health.up()}
	if away := t.health.away.Load(); away != 0 {
		s.Lag = now.Sub(time.Unix(0, away))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.records {
		if r.pending || r.ahead {
			s.Pending++
		}
		if r.pending {
			s.Lag = max(s.Lag, now.Sub(r.since))
		}
	}
	return s
}
