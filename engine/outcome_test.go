package engine

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

// number returns a header of an outcome as a number.
func (r reply) number(t *testing.T, name string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(r.outcome(name), 64)
	if err != nil {
		t.Errorf("%s is %q", name, r.outcome(name))
	}
	return f
}

func TestProxyLearnsTheOutcomeOfEveryAnswer(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for _, stream := range []string{"false", "true"} {
		r := e.post(chatPath, hello+`,"stream":`+stream+`}`)
		where := r.header
		if stream == "true" {
			where = r.trailer
			for _, name := range api.Outcome {
				if r.header.Get(name) != "" {
					t.Errorf("%s stands before the stream, where it cannot be known", name)
				}
			}
		}
		for _, name := range api.Outcome {
			if where.Get(name) == "" {
				t.Errorf("stream %s: no %s", stream, name)
			}
		}
		if got := where.Get(api.HeaderFinish); got != "length" {
			t.Errorf("stream %s: finish %q", stream, got)
		}
		// <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n, in bytes and three.
		if got := r.number(t, api.HeaderPromptTokens); got < 15 || got > 40 {
			t.Errorf("stream %s: %g prompt tokens", stream, got)
		}
		cached := 0.0
		if stream == "true" {
			cached = 16 // the first block of the same prompt
		}
		if r.number(t, api.HeaderCompletionTokens) != 8 || r.number(t, api.HeaderCachedTokens) != cached {
			t.Errorf("stream %s: %v", stream, where)
		}
		ttft := r.number(t, api.HeaderTTFT)
		if sum := r.number(t, api.HeaderQueueTime) + r.number(t, api.HeaderPrefillTime); ttft <= 0 || sum > ttft+0.002 || sum < ttft-0.002 {
			t.Errorf("stream %s: queue and prefill take %gms, the first token %gms", stream, sum, ttft)
		}
	}
}

func TestRequestIsLoggedOnceWithoutItsWords(t *testing.T) {
	e := startEngine(t, testConfig(t))
	e.post(chatPath, `{"model":"default","messages":[{"role":"user","content":"my secret"}],"temperature":0,"max_tokens":5,"stream":true}`,
		api.HeaderRequestID, "req-1", api.HeaderTenant, "acme", api.HeaderKey, "ci", api.HeaderAgent, "a1")
	e.post(chatPath, `{"model":"default","my secret":1}`, api.HeaderRequestID, "bad id!")
	e.call(http.MethodGet, "/my/secret", "")
	e.call(http.MethodGet, api.PathState, "")
	lines := e.logLines("request")
	if len(lines) != 3 {
		t.Fatalf("%d lines for 3 requests: %v", len(lines), lines)
	}
	want := map[string]any{
		"request_id": "req-1", "tenant": "acme", "key": "ci", "agent": "a1", "method": "POST", "path": chatPath,
		"status": 200.0, "finish": "length", "completion_tokens": 5.0, "cached_tokens": 0.0, "process": "engine",
	}
	for field, v := range want {
		if lines[0][field] != v {
			t.Errorf("%s is %v, want %v", field, lines[0][field], v)
		}
	}
	for _, field := range []string{"duration_ms", "ttft_ms", "prompt_tokens", "bytes_in", "bytes_out"} {
		if f, ok := lines[0][field].(float64); !ok || f <= 0 {
			t.Errorf("%s is %v", field, lines[0][field])
		}
	}
	if id, _ := lines[1]["request_id"].(string); len(id) != 16 || lines[1]["status"] != 400.0 || lines[1]["finish"] != "rejected" {
		t.Errorf("the refused request: %v", lines[1])
	}
	for _, line := range lines {
		for field, v := range line {
			if s, ok := v.(string); ok && strings.Contains(s, "secret") {
				t.Errorf("%s tells %q", field, s)
			}
		}
	}
}

func TestMetricsCountWhatWasDone(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for range 3 {
		e.post(completionPath, `{"model":"default","prompt":[123,124,125],"max_tokens":4,"temperature":0}`)
	}
	text := e.call(http.MethodGet, api.PathMetrics, "").body
	for _, line := range []string{
		"semantic_tokens_generated_total 12", "semantic_prompt_tokens_total 9", "semantic_tokens_wasted_total 0",
		"semantic_request_queue_depth 0", "semantic_pool_utilization_ratio 0",
		"semantic_queue_wait_seconds_count 3", "semantic_prefill_duration_seconds_count 3",
		"semantic_inter_token_latency_seconds_count 9", "semantic_decode_step_seconds_count 9", "semantic_batch_size_count 12",
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %q in\n%s", line, grep(text, strings.Fields(line)[0]))
		}
	}
	if !strings.Contains(text, `semantic_build_info{process="engine"`) {
		t.Error("no build info")
	}
}

// grep returns the lines of text that contain s.
func grep(text, s string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, s) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func TestBuildTellsTheExecutablesHash(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.call(http.MethodGet, api.PathBuild, "")
	if r.status != 200 || !strings.Contains(r.body, `"executable_sha256":"`) || !strings.Contains(r.body, `"go":"go1.`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}
