package console

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// window is the time over which percentiles and rates are taken.
const window = 10

// Names of the columns of a sample. Times are in seconds, rates a second.
var columns = func() []string {
	c := []string{"ttft_p50", "ttft_p95", "ttft_p99", "itl_p50", "itl_p95", "itl_p99", "tokens", "prompt_tokens", "queue", "running", "batch", "pool", "in_flight", "requests"}
	for _, f := range api.Finishes {
		c = append(c, "finish_"+string(f))
	}
	return c
}()

// column numbers.
const (
	colTTFT = iota
	_
	_
	colITL
	_
	_
	colTokens
	colPrompt
	colQueue
	colRunning
	colBatch
	colPool
	colInFlight
	colRequests
	colFinish
)

// process is one of the three as the page shows it.
type process struct {
	Name     string  `json:"name"`
	Up       bool    `json:"up"`
	State    string  `json:"state"`
	Error    string  `json:"error,omitempty"`
	Boot     string  `json:"boot,omitempty"`
	Started  float64 `json:"started,omitempty"` // seconds since 1970
	Restarts int     `json:"restarts"`
	Counted  bool    `json:"counted"`          // the restarts are those that the supervisor counted, not what this console saw
	Memory   float64 `json:"memory,omitempty"` // resident bytes
}

// snapshot is what one look found.
type snapshot struct {
	Ready     bool      `json:"ready"`
	Reason    string    `json:"reason,omitempty"`
	Model     string    `json:"model,omitempty"`
	Processes []process `json:"processes"`
	at        time.Time
	values    []float32
}

// scrape is what one look read of the expositions.
type scrape struct {
	counters map[string]float64 // by name, or name and class
	hist     map[string]*histogram
}

var (
	histograms = map[string]bool{"semantic_time_to_first_token_seconds": true, "semantic_inter_token_latency_seconds": true, "semantic_batch_size": true}
	plain      = []string{
		"semantic_finish_total", "semantic_tokens_generated_total", "semantic_prompt_tokens_total", "semantic_request_queue_depth",
		"semantic_pool_utilization_ratio", "semantic_requests_in_flight", "vllm:num_requests_running",
		"process_start_time_seconds", "process_resident_memory_bytes",
	}
	wantedNames = func() map[string]bool {
		w := map[string]bool{}
		for h := range histograms {
			w[h+"_bucket"], w[h+"_sum"] = true, true
		}
		for _, n := range plain {
			w[n] = true
		}
		return w
	}()
)

// looker looks at the pod again and again, and remembers what rates need.
type looker struct {
	c        *Console
	past     []scrape // the last ones, the newest last
	boots    map[string]string
	restarts map[string]int
	counted  map[string]bool // by a supervisor
	buffers  [3]bytes.Buffer
}

func newLooker(c *Console) *looker {
	return &looker{c: c, boots: map[string]string{}, restarts: map[string]int{}, counted: map[string]bool{}}
}

// look asks all three processes at once.
func (l *looker) look(ctx context.Context, now time.Time) snapshot {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	var (
		wg           sync.WaitGroup
		proxy        api.ProxyState
		engine       api.EngineState
		errP, errE   error
		textP, textE error
	)
	wg.Go(func() { errP = read(ctx, l.c.pods.proxy, api.PathState, &proxy) })
	wg.Go(func() { errE = read(ctx, l.c.pods.engine, api.PathState, &engine) })
	wg.Go(func() { textP = ask(ctx, l.c.pods.proxy, http.MethodGet, api.PathMetrics, nil, &l.buffers[0]) })
	wg.Go(func() { textE = ask(ctx, l.c.pods.engine, http.MethodGet, api.PathMetrics, nil, &l.buffers[1]) })
	wg.Wait()
	l.buffers[2].Reset()
	_, _ = l.c.cfg.Own(&l.buffers[2]) // a buffer takes all
	seen := scrape{counters: map[string]float64{}, hist: map[string]*histogram{}}
	if textP == nil {
		seen.take("proxy", l.buffers[0].Bytes())
	}
	if textE == nil {
		seen.take("engine", l.buffers[1].Bytes())
	}
	seen.take("sidecar", l.buffers[2].Bytes())
	s := snapshot{Ready: errP == nil && proxy.Ready, Reason: proxy.Reason, Model: engine.Model, at: now}
	if errP != nil {
		s.Reason = "the proxy does not answer"
	}
	s.Processes = []process{
		l.process("proxy", errP, proxyState(proxy), proxy.Boot, proxy.Restarts, seen),
		l.process("engine", errE, engineState(engine), engine.Boot, engine.Restarts, seen),
		l.process("sidecar", nil, "running", l.c.cfg.Boot, l.c.cfg.Restarts, seen),
	}
	s.values = l.values(seen, engine, errE == nil)
	return s
}

func proxyState(p api.ProxyState) string {
	if p.Reason == "shutting_down" {
		return "draining"
	}
	return "running"
}

func engineState(e api.EngineState) string {
	if e.LoadError != "" {
		return "cannot load its model: " + e.LoadError
	}
	return string(e.Phase)
}

// process tells of one. Its supervisor knows how often it came back; where there is none, as
// in containers of their own, the console counts what it sees.
func (l *looker) process(name string, err error, state, boot string, restarts *int, seen scrape) process {
	p := process{Name: name, Up: err == nil, State: state, Boot: boot, Started: seen.counters["process_start_time_seconds "+name], Memory: seen.counters["process_resident_memory_bytes "+name]}
	if err != nil {
		p.State, p.Error = "down", err.Error()
	} else {
		if before := l.boots[name]; before != "" && before != boot {
			l.restarts[name]++
		}
		l.boots[name] = boot
		if restarts != nil {
			l.restarts[name], l.counted[name] = *restarts, true
		}
	}
	p.Restarts, p.Counted = l.restarts[name], l.counted[name]
	return p
}

// take reads an exposition.
func (s *scrape) take(from string, text []byte) {
	eachSeries(text, wantedNames, func(x series) {
		for _, part := range []string{"_bucket", "_sum"} {
			if base, ok := strings.CutSuffix(x.name, part); ok && histograms[base] {
				h := s.hist[base]
				if h == nil {
					h = &histogram{}
					s.hist[base] = h
				}
				h.add(part, x)
				return
			}
		}
		switch {
		case x.name == "semantic_finish_total":
			s.counters[x.name+" "+x.label("class")] = x.value
		case strings.HasPrefix(x.name, "process_"):
			s.counters[x.name+" "+from] = x.value
		default:
			s.counters[x.name] += x.value
		}
	})
}

// values makes a row of the ring.
func (l *looker) values(seen scrape, engine api.EngineState, engineUp bool) []float32 {
	l.past = append(l.past, seen)
	if len(l.past) > window+1 {
		l.past = l.past[1:]
	}
	first, last := l.past[0], l.past[max(0, len(l.past)-2)]
	span := float64(len(l.past)-1) * interval.Seconds()
	row := make([]float32, len(columns))
	for i := range row {
		row[i] = float32(math.NaN())
	}
	set := func(col int, v float64) { row[col] = float32(v) }
	rate := func(name string, before scrape, seconds float64) float64 {
		v, ok := seen.counters[name]
		b, was := before.counters[name]
		if !ok || !was || seconds <= 0 || v < b {
			return 0
		}
		return (v - b) / seconds
	}
	for col, name := range map[int]string{colTTFT: "semantic_time_to_first_token_seconds", colITL: "semantic_inter_token_latency_seconds"} {
		if h := seen.hist[name]; h != nil {
			d := h.since(first.hist[name])
			for i, q := range []float64{0.5, 0.95, 0.99} {
				set(col+i, d.quantile(q))
			}
		}
	}
	if h := seen.hist["semantic_batch_size"]; h != nil {
		d := h.since(first.hist["semantic_batch_size"])
		set(colBatch, d.mean())
	}
	set(colTokens, rate("semantic_tokens_generated_total", last, interval.Seconds()))
	set(colPrompt, rate("semantic_prompt_tokens_total", first, span))
	if engineUp {
		set(colQueue, float64(engine.Queued))
		set(colRunning, float64(engine.Running))
		set(colPool, seen.counters["semantic_pool_utilization_ratio"])
	}
	set(colInFlight, seen.counters["semantic_requests_in_flight"])
	all := 0.0
	for i, f := range api.Finishes {
		v := rate("semantic_finish_total "+string(f), last, interval.Seconds())
		set(colFinish+i, v)
		all += v
	}
	set(colRequests, all)
	return row
}
