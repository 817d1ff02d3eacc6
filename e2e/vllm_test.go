//go:build vllm

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestInFrontOfVLLM drives a pod whose upstream is a real vLLM, at the address in
// VLLM_URL (see docs/upstream.md), and writes what it saw to VLLM_RESULT. The model may
// have random weights: protocol, counts, cancellation and metrics do not depend on them.
func TestInFrontOfVLLM(t *testing.T) {
	url := os.Getenv("VLLM_URL")
	if url == "" {
		t.Fatal("VLLM_URL is not set: start vLLM as docs/upstream.md says, and run make test-vllm VLLM_URL=http://127.0.0.1:PORT")
	}
	p := newDoomedPod(t, settings{upstreams: []string{url}})
	t.Cleanup(func() { p.mustStop(t) })
	direct := &pod{url: url, client: http.DefaultClient}
	var version struct{ Version string }
	_ = json.Unmarshal([]byte(direct.call(http.MethodGet, "/version", "").body), &version)
	var models struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(direct.call(http.MethodGet, "/v1/models", "").body), &models); err != nil || len(models.Data) == 0 {
		t.Fatalf("vLLM lists no model: %v", err)
	}
	ours := chat("Hi there", 16).with(body{"seed": 1})
	theirs := ours.with(body{"model": models.Data[0].ID, "top_k": -1, "repetition_penalty": 1})
	want, got, streamed := direct.mustGenerate(t, theirs), p.mustGenerate(t, ours), p.mustGenerate(t, ours.with(body{"stream": true}))
	if got.text != want.text || streamed.text != want.text || got.usage != want.usage || streamed.usage != want.usage {
		t.Errorf("got %+v and %+v, want %+v", got, streamed, want)
	}
	several := p.call(http.MethodPost, chatPath, ours.with(body{"n": 2, "temperature": 1, "logprobs": true, "top_logprobs": 1}).String())
	if several.status != http.StatusOK || strings.Count(several.body, `"finish_reason"`) != 2 || !strings.Contains(several.body, `"top_logprobs":[{`) {
		t.Errorf("two choices: %+v", several)
	}
	said := p.call(http.MethodPost, "/v1/messages", body{
		"model": "default", "max_tokens": 200, "temperature": 1, "stop_sequences": strings.Split("e a i t", " "), "messages": []message{{"user", "Hi"}},
	}.String())
	if !strings.Contains(said.body, `"stop_reason":"stop_sequence","stop_sequence":"`) {
		t.Errorf("Anthropic's dialect: %+v", said)
	}
	counted := p.call(http.MethodPost, "/v1/messages/count_tokens", body{"model": "default", "messages": []message{{"user", "Hi there"}}}.String())
	if counted.body != fmt.Sprintf(`{"input_tokens":%d}`, want.usage.Prompt) {
		t.Errorf("count_tokens: %+v, want %d", counted, want.usage.Prompt)
	}
	refused := p.call(http.MethodPost, chatPath, ours.with(body{"max_tokens": 1 << 30}).String())
	if refused.status != http.StatusBadRequest || !strings.Contains(refused.body, "max_tokens") {
		t.Errorf("too many tokens: %+v", refused)
	}
	stopped := leavingVLLM(t, p, direct)
	await(t, "vLLM's own counts", func() bool { return p.scrape(t).sum("semantic_upstream_tokens_generated_total") > 0 })
	writeVLLMReport(t, version.Version, models.Data[0].ID, want, stopped)
}

// leavingVLLM leaves a stream and returns how long vLLM went on with it, as far as its
// own metrics show.
func leavingVLLM(t *testing.T, p, vllm *pod) time.Duration {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := p.stream(ctx, counting(400))
	if err != nil {
		t.Fatal(err)
	}
	s.pieces(t, 1)
	cancel()
	left := time.Now()
	await(t, "vLLM to stop", func() bool {
		return parseMetrics(t, vllm.call(http.MethodGet, "/metrics", "").body).sum("vllm:num_requests_running") == 0
	})
	if n := within(patience, func() bool { return p.scrape(t).sum("semantic_tokens_wasted_total") > 0 }); !n {
		t.Error("the tokens of an answer that was left are not counted")
	}
	return time.Since(left)
}

func writeVLLMReport(t *testing.T, version, model string, g generation, stopped time.Duration) {
	out := os.Getenv("VLLM_RESULT")
	if out == "" || t.Failed() {
		return
	}
	b, err := json.MarshalIndent(map[string]any{
		"date": time.Now().UTC().Format(time.DateOnly), "vllm": version, "model": model, "passed": true,
		"prompt_tokens": g.usage.Prompt, "completion_tokens": g.usage.Completion,
		"stopped_after_leaving_ms": stopped.Milliseconds(),
		"checked": []string{"whole and streamed answers equal vLLM's own", "token counts equal vLLM's own", "n=2 with log-probabilities",
			"Anthropic's dialect with stop_sequence", "count_tokens", "refusals passed on", "a left stream stops", "metrics mapped"},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
