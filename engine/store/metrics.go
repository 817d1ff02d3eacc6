package store

import (
	"fmt"

	"github.com/semantic-pod/semantic/telemetry"
)

// Metrics are the series of the warm tier. They outlive a store, so that a change of the model,
// which closes one store and opens another, sets no counter back.
type Metrics struct {
	failures    map[Reason]*telemetry.Counter
	quarantined map[Reason]*telemetry.Counter
	evicted     *telemetry.Counter
	expired     *telemetry.Counter
	persist     *telemetry.Histogram
}

var persistBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics declares the series, each with all its labels.
func NewMetrics(m *telemetry.Metrics) *Metrics {
	own := &Metrics{failures: map[Reason]*telemetry.Counter{}, quarantined: map[Reason]*telemetry.Counter{}}
	for _, r := range WriteReasons {
		own.failures[r] = m.Counter("semantic_persist_failures_total", fmt.Sprintf(`reason="%s"`, r),
			"Agents that could not be written to disk, by reason.")
	}
	for _, r := range FileReasons {
		own.quarantined[r] = m.Counter("semantic_cache_quarantined_total", fmt.Sprintf(`reason="%s"`, r),
			"Files of agents that were put aside instead of served, by reason.")
	}
	own.evicted = m.Counter("semantic_eviction_total", `tier="warm"`, "Agents that left a tier to make room, by tier.")
	own.expired = m.Counter("semantic_cache_expired_total", "", "Files of agents deleted from disk since they were not used within --cache-ttl.")
	own.persist = m.Histogram("semantic_cache_persist_duration_seconds", "",
		"Time to write an agent to disk, until it is safe from a power cut, in seconds.", persistBuckets)
	return own
}

// uncounted returns metrics that nobody reads.
func uncounted() *Metrics { return NewMetrics(telemetry.NewMetrics("engine")) }
