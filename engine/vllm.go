package engine

import (
	"fmt"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
)

// vllmMetrics are the engine's figures under the names of vLLM, so that its Grafana
// dashboard and routers that pick a pod by them (the Gateway API Inference Extension)
// read us unchanged. Their buckets are vLLM's, widened downwards where ours are
// faster.
type vllmMetrics struct {
	cache      *telemetry.Info
	ttft       *telemetry.Histogram
	interToken *telemetry.Histogram
	whole      *telemetry.Histogram
	queue      *telemetry.Histogram
	prefill    *telemetry.Histogram
	decode     *telemetry.Histogram
	inference  *telemetry.Histogram
	prompt     *telemetry.Histogram
	generated  *telemetry.Histogram

	promptTokens    *telemetry.Counter
	generatedTokens *telemetry.Counter
	prefixQueries   *telemetry.Counter
	prefixHits      *telemetry.Counter
	preemptions     *telemetry.Counter
	success         map[api.Finish]*telemetry.Counter
}

var (
	vllmTTFTBuckets  = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160}
	vllmITLBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10}
	vllmTimeBuckets  = []float64{.01, .05, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480}
	vllmTokenBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000}
)

// vllmReasons are vLLM's words for the ends that it calls a success.
var vllmReasons = map[api.Finish]string{api.FinishStop: "stop", api.FinishToolCalls: "stop", api.FinishLength: "length"}

func newVLLMMetrics(m *telemetry.Metrics, g gauges) *vllmMetrics {
	labels := fmt.Sprintf(`model_name="%s",engine="0"`, telemetry.EscapeLabel(g.model))
	m.GaugeFunc("vllm:num_requests_running", labels, "Requests in the batch.", func() float64 { return float64(g.load().running) })
	m.GaugeFunc("vllm:num_requests_waiting", labels, "Requests that wait for a slot in the batch.", func() float64 { return float64(g.load().queued) })
	m.GaugeFunc("vllm:kv_cache_usage_perc", labels, "Share of the KV blocks in use, 0 to 1.", func() float64 { return g.load().poolUsed })
	v := &vllmMetrics{
		cache:           m.Info("vllm:cache_config_info", "Always 1; the labels say how the KV pool is made.", "block_size", "num_gpu_blocks", "enable_prefix_caching"),
		ttft:            m.Histogram("vllm:time_to_first_token_seconds", labels, "Time from a request's arrival at the engine to its first token, in seconds.", vllmTTFTBuckets),
		interToken:      m.Histogram("vllm:inter_token_latency_seconds", labels, "Time between two tokens of one answer, in seconds.", vllmITLBuckets),
		whole:           m.Histogram("vllm:e2e_request_latency_seconds", labels, "Time from a request's arrival at the engine to its last token, in seconds.", vllmTimeBuckets),
		queue:           m.Histogram("vllm:request_queue_time_seconds", labels, "Time that a request waited for its first step, in seconds.", vllmTimeBuckets),
		prefill:         m.Histogram("vllm:request_prefill_time_seconds", labels, "Time from a request's first step to its first token, in seconds.", vllmTimeBuckets),
		decode:          m.Histogram("vllm:request_decode_time_seconds", labels, "Time from a request's first token to its last, in seconds.", vllmTimeBuckets),
		inference:       m.Histogram("vllm:request_inference_time_seconds", labels, "Time from a request's first step to its last token, in seconds.", vllmTimeBuckets),
		prompt:          m.Histogram("vllm:request_prompt_tokens", labels, "Tokens of a request's prompt.", vllmTokenBuckets),
		generated:       m.Histogram("vllm:request_generation_tokens", labels, "Tokens of a request's answers.", vllmTokenBuckets),
		promptTokens:    m.Counter("vllm:prompt_tokens_total", labels, "Tokens of the prompts of requests that began to run."),
		generatedTokens: m.Counter("vllm:generation_tokens_total", labels, "Tokens that the model generated."),
		prefixQueries:   m.Counter("vllm:prefix_cache_queries_total", labels, "Tokens of prompts that were looked up in the cache."),
		prefixHits:      m.Counter("vllm:prefix_cache_hits_total", labels, "Tokens of prompts that were found in the cache."),
		preemptions:     m.Counter("vllm:num_preemptions_total", labels, "Times that a request had to leave the batch since memory was short."),
		success:         map[api.Finish]*telemetry.Counter{},
	}
	byReason := map[string]*telemetry.Counter{}
	for finish, reason := range vllmReasons {
		if byReason[reason] == nil {
			byReason[reason] = m.Counter("vllm:request_success_total", labels+`,finished_reason="`+reason+`"`, "Requests that ended well, by how.")
		}
		v.success[finish] = byReason[reason]
	}
	return v
}

// ended counts a generation that is over, as far as it came.
func (v *vllmMetrics) ended(r result, finish api.Finish) {
	t := r.times
	if t.start.IsZero() {
		return // it never ran
	}
	v.queue.Update(t.queue().Seconds())
	v.prompt.Update(float64(r.usage.Prompt))
	v.generated.Update(float64(r.usage.Completion))
	if t.first.IsZero() {
		return
	}
	v.ttft.Update(t.ttft().Seconds())
	v.prefill.Update(t.prefill().Seconds())
	v.decode.Update(t.decode().Seconds())
	v.inference.Update(between(t.start, t.last).Seconds())
	v.whole.Update(between(t.arrival, t.last).Seconds())
	if c := v.success[finish]; c != nil {
		c.Inc()
	}
}
