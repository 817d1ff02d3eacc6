package proxy

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"github.com/semantic-pod/semantic/telemetry"
)

// Bounds of histograms, in seconds. A request may take the whole of
// --request-timeout; a first token should not.
var (
	durationBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}
	ttftBounds     = []float64{.001, .0025, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	overheadBounds = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, 1}
)

// seriesLimit bounds the series of a family: routes × methods × statuses stay far
// below it.
const seriesLimit = 1024

const rejectedHelp = "Requests and connections refused, by the limit of the server or of the key."

// meters is what the proxy counts, each declared once, beside what feeds it.
type meters struct {
	requests  *telemetry.Vec[telemetry.Counter]
	durations *telemetry.Vec[telemetry.Histogram]
	ttft      *telemetry.Histogram
	overhead  *telemetry.Histogram
	finishes  map[api.Finish]*telemetry.Counter
	inFlight  atomic.Int64
	usual     map[*route]usual

	restarts           *telemetry.Counter
	refusedConnections map[string]*telemetry.Counter
	refusedAddresses   *telemetry.Counter
	fellBack           *telemetry.Counter
	refusedRequests    *telemetry.Counter
	refusedLogins      *telemetry.Counter
	refusedByKey       map[limit.Reason]*telemetry.Counter
	authFailures       map[keys.Reason]*telemetry.Counter
	scrapeFaults       *telemetry.Counter
	refusedFiles       map[string]*atomic.Bool // by setting
}

func newMeters(p *Proxy) *meters {
	m := p.metrics
	s := &meters{
		requests: m.CounterVec("semantic_request_total",
			"Requests answered, by method, route and HTTP status.", seriesLimit, "method", "path", "status_code"),
		durations: m.HistogramVec("semantic_request_duration_seconds",
			"Time from a request's first byte to the end of its answer.", durationBounds, seriesLimit, "method", "path"),
		ttft: m.Histogram("semantic_time_to_first_token_seconds", "",
			"Time from a request's first byte at the proxy to its first token.", ttftBounds),
		overhead: m.Histogram("semantic_proxy_overhead_seconds", "",
			"Time that the proxy added to a request that was with the engine: without the client's sending, a wait for a key's turn, and the engine.", overheadBounds),
		finishes: map[api.Finish]*telemetry.Counter{},
		usual:    map[*route]usual{}, refusedFiles: map[string]*atomic.Bool{},
		restarts: m.Counter("semantic_engine_restarts_total", "",
			"Times that the proxy saw another engine process than before."),
		refusedConnections: map[string]*telemetry.Counter{
			overAll:  m.Counter("semantic_rejected_total", `reason="max_connections"`, rejectedHelp),
			overEach: m.Counter("semantic_rejected_total", `reason="max_connections_per_address"`, rejectedHelp),
		},
		refusedAddresses: m.Counter("semantic_rejected_total", `reason="address"`, rejectedHelp),
		refusedRequests:  m.Counter("semantic_rejected_total", `reason="max_in_flight"`, rejectedHelp),
		refusedLogins:    m.Counter("semantic_rejected_total", `reason="failed_logins"`, rejectedHelp),
		refusedByKey:     map[limit.Reason]*telemetry.Counter{},
		authFailures:     map[keys.Reason]*telemetry.Counter{},
		scrapeFaults: m.Counter("semantic_engine_scrape_failures_total", "",
			"Scrapes that lacked the engine's part, or something of it."),
	}
	for _, f := range api.Finishes {
		s.finishes[f] = m.Counter("semantic_finish_total", `class="`+string(f)+`"`, "Requests, by how they ended.")
	}
	for _, r := range []limit.Reason{limit.RequestRate, limit.Concurrency, limit.TokenBudget, limit.PromptOverBudget} {
		s.refusedByKey[r] = m.Counter("semantic_rejected_total", `reason="`+string(r)+`"`, rejectedHelp)
	}
	for _, r := range keys.Reasons {
		s.authFailures[r] = m.Counter("semantic_auth_failures_total", `reason="`+string(r)+`"`,
			"Requests without a good API key, by what was wrong with it.")
	}
	m.GaugeFunc("semantic_keys_loaded", "", "API keys in force, with those that have expired or were revoked.",
		func() float64 { return float64(p.door.keys.Loaded()) })
	m.GaugeFunc("semantic_key_file_rejected", "", "1 while the key file on disk is refused and what was read before stays in force.",
		func() float64 { return one(p.door.keys.Rejected() != nil) })
	for _, setting := range rereadSettings {
		refused := &atomic.Bool{}
		s.refusedFiles[setting] = refused
		m.GaugeFunc("semantic_file_rejected", `setting="`+setting+`"`, "1 while the file of a setting, as it is now, is refused and what was read before stays in force.",
			func() float64 { return one(refused.Load()) })
	}
	m.GaugeFunc("semantic_requests_in_flight", "", "Requests that were read and whose answer has not ended.",
		func() float64 { return float64(s.inFlight.Load()) })
	s.fellBack = m.Counter("semantic_limits_store_fallbacks_total", "",
		"Requests that this proxy decided on by itself since --limits-store was away.")
	m.GaugeFunc("semantic_limits_store_up", "", "1 while --limits-store answers; 0 also without one.",
		func() float64 { return one(p.shared != nil && p.shared.Up()) })
	m.CounterFunc("semantic_limits_store_dropped_total", "", "Ends of requests that --limits-store was not told of.", func() float64 {
		if p.shared == nil {
			return 0
		}
		return float64(p.shared.Dropped())
	})
	m.GaugeFunc("semantic_certificate_expiry_timestamp_seconds", "", "When the certificate of --tls-cert-file ends, in seconds since 1970; 0 without one.", p.certificateExpiry)
	m.GaugeFunc("semantic_engine_up", "", "1 while the engine answers the proxy's poll.",
		func() float64 { return one(p.health.engineUp()) })
	m.GaugeFunc("semantic_connections_open", "", "Client connections that are open.",
		func() float64 { return float64(p.conns.count()) })
	for _, r := range routes {
		if !r.probe {
			s.usual[r] = usual{s.requests.With(r.methods[0], r.template, "200"), s.durations.With(r.methods[0], r.template)}
		}
	}
	return s
}

// usual are the series of a route's good requests, which are not to be looked up by
// their labels each time.
type usual struct {
	requests *telemetry.Counter
	duration *telemetry.Histogram
}

// series finds the request's.
func (s *meters) series(x *exchange, status int) (*telemetry.Counter, *telemetry.Histogram) {
	method := x.ctx.Method()
	if u := s.usual[x.route]; u.requests != nil && status == http.StatusOK && string(method) == x.route.methods[0] {
		return u.requests, u.duration
	}
	label := methodLabel(method)
	return s.requests.With(label, x.label(), statusLabel(status)), s.durations.With(label, x.label())
}

// count adds a request that has ended.
func (s *meters) count(x *exchange, status int, took time.Duration, w *waterfall) {
	requests, duration := s.series(x, status)
	requests.Inc()
	duration.Update(took.Seconds())
	s.finishes[x.finish].Inc()
	if x.ttft > 0 {
		s.ttft.Update(x.ttft.Seconds())
	}
	if added := x.overhead(took, w); added > 0 {
		s.overhead.Update(added.Seconds())
	}
}

// exemplify shows a traced request in the buckets that it fell into.
func (s *meters) exemplify(x *exchange, method string, took time.Duration) {
	trace, now := x.trace.trace(), x.now()
	s.durations.With(method, x.label()).Exemplar(trace, took.Seconds(), now)
	if x.ttft > 0 {
		s.ttft.Exemplar(trace, x.ttft.Seconds(), now)
	}
}

// statusLabels spares each request the formatting of its status.
var statusLabels = func() (l [600]string) {
	for i := 100; i < len(l); i++ {
		l[i] = strconv.Itoa(i)
	}
	return l
}()

func statusLabel(status int) string {
	if status < 100 || status >= len(statusLabels) {
		return "other"
	}
	return statusLabels[status]
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
