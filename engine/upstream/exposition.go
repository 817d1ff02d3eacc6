package upstream

import (
	"bytes"
	"strconv"
)

// stats is what an upstream's own metrics say, about all of its clients together.
type stats struct {
	running, waiting float64 // requests
	kvUsed           float64 // share of its KV memory, 0 to 1
	tellsKV          bool

	prompt, cached, generated float64 // tokens since it started
	preempted                 float64 // requests since it started
}

// sources says by which names vLLM, llama.cpp's server and a pod of ours tell a
// number. Of a family with labels the series are added up; of several names that
// are there the last one counts.
var sources = map[string]func(st *stats, sum float64, series int){
	"vllm:num_requests_running":     func(st *stats, sum float64, _ int) { st.running = sum },
	"llamacpp:requests_processing":  func(st *stats, sum float64, _ int) { st.running = sum },
	"semantic_requests_in_flight":   func(st *stats, sum float64, _ int) { st.running = sum },
	"vllm:num_requests_waiting":     func(st *stats, sum float64, _ int) { st.waiting = sum },
	"llamacpp:requests_deferred":    func(st *stats, sum float64, _ int) { st.waiting = sum },
	"semantic_request_queue_depth":  func(st *stats, sum float64, _ int) { st.waiting = sum },
	"vllm:kv_cache_usage_perc":      setKV, // a share in spite of its name
	"vllm:gpu_cache_usage_perc":     setKV, // what older versions call it
	"llamacpp:kv_cache_usage_ratio": setKV,

	"semantic_pool_utilization_ratio": setKV,

	"vllm:prompt_tokens_total":            func(st *stats, sum float64, _ int) { st.prompt = sum },
	"llamacpp:prompt_tokens_total":        func(st *stats, sum float64, _ int) { st.prompt += sum }, // without the cached ones
	"semantic_prompt_tokens_total":        func(st *stats, sum float64, _ int) { st.prompt = sum },
	"vllm:prefix_cache_hits_total":        func(st *stats, sum float64, _ int) { st.cached = sum },
	"llamacpp:prompt_tokens_cached_total": func(st *stats, sum float64, _ int) { st.cached = sum; st.prompt += sum },
	"semantic_prompt_tokens_cached_total": func(st *stats, sum float64, _ int) { st.cached = sum },
	"vllm:generation_tokens_total":        func(st *stats, sum float64, _ int) { st.generated = sum },
	"llamacpp:tokens_predicted_total":     func(st *stats, sum float64, _ int) { st.generated = sum },
	"semantic_tokens_generated_total":     func(st *stats, sum float64, _ int) { st.generated = sum },
	"vllm:num_preemptions_total":          func(st *stats, sum float64, _ int) { st.preempted = sum },
}

// setKV takes the mean of an upstream that has several engines.
func setKV(st *stats, sum float64, series int) {
	st.kvUsed, st.tellsKV = min(max(sum/float64(series), 0), 1), true
}

// readStats reads an exposition. What it does not know, or cannot read, it passes by.
func readStats(exposition []byte) stats {
	type family struct {
		sum    float64
		series int
	}
	found := map[string]*family{}
	for line := range bytes.Lines(exposition) {
		line = bytes.TrimSpace(line)
		end := bytes.IndexAny(line, "{ \t")
		if end <= 0 || line[0] == '#' {
			continue
		}
		name := string(line[:end])
		if sources[name] == nil {
			continue
		}
		value, ok := sampleValue(line[end:])
		if !ok {
			continue
		}
		if found[name] == nil {
			found[name] = &family{}
		}
		found[name].sum += value
		found[name].series++
	}
	var st stats
	for name, f := range found {
		sources[name](&st, f.sum, f.series)
	}
	return st
}

// sampleValue reads what follows a sample's name: perhaps labels, a value, perhaps a
// time.
func sampleValue(rest []byte) (float64, bool) {
	if rest[0] == '{' {
		end := bytes.LastIndexByte(rest, '}')
		if end < 0 {
			return 0, false
		}
		rest = rest[end+1:]
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(fields[0]), 64)
	return v, err == nil && v == v && v >= 0 // NaN is no number here
}
