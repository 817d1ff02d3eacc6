package upstream

import (
	"strings"

	"github.com/semantic-pod/semantic/telemetry"
)

// Metrics are the series about upstreams. Each upstream is known from the start.
type Metrics struct {
	all       *telemetry.Metrics
	failovers *telemetry.Counter
	ejections map[string]*telemetry.Counter             // by upstream
	requests  map[string]map[verdict]*telemetry.Counter // by upstream
}

// NewMetrics declares what does not depend on the upstreams.
func NewMetrics(m *telemetry.Metrics) *Metrics {
	return &Metrics{
		all:       m,
		failovers: m.Counter("semantic_upstream_failovers_total", "", "Requests that were sent to another upstream after one could not begin to answer."),
		ejections: map[string]*telemetry.Counter{},
		requests:  map[string]map[verdict]*telemetry.Counter{},
	}
}

// watch declares the series of a fleet's upstreams.
func (m *Metrics) watch(f *Fleet) {
	for _, s := range f.servers {
		label := `upstream="` + labelEscaper.Replace(s.address) + `"`
		m.ejections[s.address] = m.all.Counter("semantic_upstream_ejections_total", label, "Times that an upstream got no requests for a while because those before failed.")
		m.requests[s.address] = map[verdict]*telemetry.Counter{}
		for _, v := range verdicts {
			m.requests[s.address][v] = m.all.Counter("semantic_upstream_requests_total", label+`,outcome="`+v.String()+`"`,
				"Requests sent to an upstream, by how it dealt with them: served, refused (the request was at fault, or its client left), busy, failed.")
		}
		gauge := func(name, help string, value func(*server) float64) {
			m.all.GaugeFunc(name, label, help, func() float64 { return f.locked(s, value) })
		}
		counter := func(name, help string, value func(*server) float64) {
			m.all.CounterFunc(name, label, help, func() float64 { return f.locked(s, value) })
		}
		gauge("semantic_upstream_up", "1 while the upstream answers that it is ready.", func(s *server) float64 {
			if s.state == up {
				return 1
			}
			return 0
		})
		gauge("semantic_upstream_in_flight", "Requests of this pod that the upstream is working on.", func(s *server) float64 { return float64(s.inFlight) })
		gauge("semantic_upstream_running", "Requests that the upstream says it is working on, whoever sent them.", func(s *server) float64 { return s.stats.running })
		gauge("semantic_upstream_waiting", "Requests that the upstream says wait in it, whoever sent them.", func(s *server) float64 { return s.stats.waiting })
		gauge("semantic_upstream_kv_usage_ratio", "Share of its KV memory that the upstream says is in use, 0 to 1.", func(s *server) float64 { return s.stats.kvUsed })
		counter("semantic_upstream_prompt_tokens_total", "Tokens of prompts that the upstream says it took since it started, whoever sent them.", func(s *server) float64 { return s.stats.prompt })
		counter("semantic_upstream_prompt_tokens_cached_total", "Tokens of prompts that the upstream says its cache had.", func(s *server) float64 { return s.stats.cached })
		counter("semantic_upstream_tokens_generated_total", "Tokens that the upstream says it generated since it started, whoever asked for them.", func(s *server) float64 { return s.stats.generated })
		counter("semantic_upstream_preemptions_total", "Requests that the upstream says it interrupted for lack of memory.", func(s *server) float64 { return s.stats.preempted })
	}
}

func (f *Fleet) locked(s *server, value func(*server) float64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return value(s)
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
