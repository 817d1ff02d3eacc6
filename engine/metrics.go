package engine

import (
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/telemetry"
)

// metrics are the engine's own series. Each is fed where its work is done: the
// scheduler, for all but those that are read at a scrape.
type metrics struct {
	all *telemetry.Metrics

	tokensGenerated *telemetry.Counter
	tokensWasted    *telemetry.Counter
	tokenRate       telemetry.Rate
	promptTokens    *telemetry.Counter
	promptCached    *telemetry.Counter
	promptComputed  *telemetry.Counter
	prefillSaved    *telemetry.FloatCounter
	hitHot, hitWarm *telemetry.Counter
	hitCold         *telemetry.Counter
	cacheMiss       *telemetry.Counter
	evictedHot      *telemetry.Counter
	restore         *telemetry.Histogram
	modelSwap       *telemetry.Histogram
	disk            *store.Metrics
	cold            *cold.Metrics
	batchSize       *telemetry.Histogram
	queueWait       *telemetry.Histogram
	prefill         *telemetry.Histogram
	decodeStep      *telemetry.Histogram
	interToken      *telemetry.Histogram
	vllm            *vllmMetrics
}

var (
	batchBuckets   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
	waitBuckets    = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	restoreBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	stepBuckets    = []float64{.0001, .00025, .0005, .001, .0025, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .2, .3, .5, 1, 2.5}
)

// gauges are what a scrape reads. The functions are called by any goroutine, before
// the model is loaded too.
type gauges struct {
	model    string // the served name
	cacheDir string // "" for none
	load     func() load
	card     func() card
}

func newMetrics(g gauges) *metrics {
	m := telemetry.NewMetrics("engine")
	own := &metrics{
		all:             m,
		tokensGenerated: m.Counter("semantic_tokens_generated_total", "", "Tokens that the model generated."),
		tokensWasted:    m.Counter("semantic_tokens_wasted_total", "", "Tokens generated for answers that their client did not stay for."),
		promptTokens:    m.Counter("semantic_prompt_tokens_total", "", "Tokens of the prompts of requests that began to run."),
		promptCached:    m.Counter("semantic_prompt_tokens_cached_total", "", "Tokens of prompts whose keys and values were there already."),
		promptComputed:  m.Counter("semantic_prompt_tokens_computed_total", "", "Tokens of prompts that the model computed: those that were not cached, and those of requests that had to leave the batch once more."),
		prefillSaved:    m.FloatCounter("semantic_prefill_seconds_saved_total", "", "Estimate of the computing time that cached tokens saved, in seconds: their number times what a prompt's token took of late."),
		hitHot:          m.Counter("semantic_cache_hit_total", `tier="hot"`, "Requests whose prompt was cached in part, by tier."),
		hitWarm:         m.Counter("semantic_cache_hit_total", `tier="warm"`, "Requests whose prompt was cached in part, by tier."),
		hitCold:         m.Counter("semantic_cache_hit_total", `tier="cold"`, "Requests whose prompt was cached in part, by tier."),
		evictedHot:      m.Counter("semantic_eviction_total", `tier="hot"`, "Agents that left a tier to make room, by tier."),
		restore:         m.Histogram("semantic_agent_restore_seconds", "", "Time to read an agent from disk into the KV pool, in seconds.", restoreBuckets),
		modelSwap:       m.Histogram("semantic_model_swap_duration_seconds", "", "Time that an admin's order took to put a model in place, in seconds: to swap it for another, or to load it again.", waitBuckets),
		disk:            store.NewMetrics(m),
		cold:            cold.NewMetrics(m),
		cacheMiss:       m.Counter("semantic_cache_miss_total", "", "Requests of whose prompt nothing was cached."),
		batchSize:       m.Histogram("semantic_batch_size", "", "Requests that one step computed for.", batchBuckets),
		queueWait:       m.Histogram("semantic_queue_wait_seconds", "", "Time from a request's arrival at the engine to its first step, in seconds.", waitBuckets),
		prefill:         m.Histogram("semantic_prefill_duration_seconds", "", "Time from a request's first step to its first token, in seconds.", waitBuckets),
		decodeStep:      m.Histogram("semantic_decode_step_seconds", "", "Duration of a step that generated tokens for running answers, in seconds.", stepBuckets),
		interToken:      m.Histogram("semantic_inter_token_latency_seconds", "", "Time between two tokens of one answer, in seconds.", stepBuckets),
		vllm:            newVLLMMetrics(m, g),
	}
	own.declareGauges(g)
	return own
}

func (own *metrics) declareGauges(g gauges) {
	m := own.all
	m.GaugeFunc("semantic_request_queue_depth", "", "Requests that wait for a slot in the batch.", func() float64 { return float64(g.load().queued) })
	m.GaugeFunc("semantic_pool_utilization_ratio", "", "Share of the KV blocks that eviction cannot free, 0 to 1.", func() float64 { return g.load().poolUsed })
	m.GaugeFunc("semantic_agents_active", "", "Agents that are in memory.", func() float64 { return float64(g.load().agents) })
	m.GaugeFunc("semantic_tokens_per_second", "", "Tokens that the model generated a second, over the last 10 whole seconds.",
		func() float64 { return own.tokenRate.PerSecond(time.Now()) })
	const memoryHelp = "Memory that the engine took, in bytes: weights, the KV pool (all of it, used or not), and what else the Go heap holds."
	m.GaugeFunc("semantic_memory_used_bytes", `kind="weights"`, memoryHelp, func() float64 { return float64(g.card().weightBytes) })
	m.GaugeFunc("semantic_memory_used_bytes", `kind="kv_pool"`, memoryHelp, func() float64 { return float64(g.card().kvBytes) })
	m.GaugeFunc("semantic_memory_used_bytes", `kind="heap"`, memoryHelp, telemetry.HeapBytes)
	if g.cacheDir != "" {
		m.GaugeFunc("semantic_disk_free_ratio", `volume="cache"`, "Free part of a volume, 0 to 1.", func() float64 { return freeRatio(g.cacheDir) })
	}
}

// freeRatio is no number when it cannot be told, which unlike 0 raises no alert.
func freeRatio(dir string) float64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return math.NaN()
	}
	return float64(fs.Bavail) / float64(fs.Blocks)
}

// loaded tells the series that know a model from its card.
func (own *metrics) loaded(c card) {
	own.vllm.cache.Set(strconv.Itoa(c.blockTokens), strconv.Itoa(c.kvBlocks), "True")
}
