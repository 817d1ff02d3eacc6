package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/anthropic"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/openai"
)

// asked is the body that an upstream of that kind gets.
func asked(t *testing.T, kind Kind, r *dialect.Request) (string, map[string]any) {
	t.Helper()
	path, body, err := (&Call{Request: r, Most: 9, Salt: "acme"}).body(target{kind: kind, model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	var b map[string]any
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return path, b
}

func mustRead(t *testing.T, read func([]byte) (*dialect.Request, *api.Error), body string) *dialect.Request {
	t.Helper()
	r, err := read([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryParameterReachesTheUpstream holds what was asked for against what is sent.
func TestEveryParameterReachesTheUpstream(t *testing.T) {
	r := mustRead(t, openai.Chat, `{"model":"default","temperature":0.5,"top_p":0.9,"top_k":7,"min_p":0.1,"seed":-1,"n":2,"logprobs":true,"top_logprobs":3,
		"presence_penalty":1,"frequency_penalty":-1,"logit_bias":{"5":2},"stop":["x"],
		"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"required","parallel_tool_calls":false,
		"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}`)
	for _, kind := range []Kind{VLLM, LlamaCPP, Semantic} {
		path, b := asked(t, kind, r)
		if path != "/v1/chat/completions" {
			t.Errorf("%s: %s", kind, path)
		}
		for name, want := range map[string]string{
			"temperature": "0.5", "top_p": "0.9", "top_k": "7", "min_p": "0.1", "n": "2", "logprobs": "true", "top_logprobs": "3", "presence_penalty": "1",
			"frequency_penalty": "-1", "logit_bias": `{"5":2}`, "stop": `["x"]`, "max_tokens": "9", "stream": "true", "tool_choice": `"required"`,
			"parallel_tool_calls": "false", "model": `"m"`, "messages": `[{"content":"s","role":"system"},{"content":"u","role":"user"}]`,
		} {
			if got, _ := json.Marshal(b[name]); string(got) != want {
				t.Errorf("%s: %s is %s, not %s", kind, name, got, want)
			}
		}
	}
	_, vllm := asked(t, VLLM, r)
	if salt, _ := vllm["cache_salt"].(string); salt == "" || strings.Contains(salt, "acme") {
		t.Errorf("cache_salt is %q", salt)
	}
	_, llama := asked(t, LlamaCPP, r)
	if seed, _ := llama["seed"].(float64); seed < 0 || seed >= 1<<32-1 {
		t.Errorf("llama.cpp's seed is %v", llama["seed"])
	}
}

// llama.cpp's server takes the name of a tool that must be called for "auto".
func TestToolThatIsNamedIsTheOnlyOneThatLlamaCPPIsOffered(t *testing.T) {
	r := mustRead(t, openai.Chat, `{"model":"default","tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}],
		"tool_choice":{"type":"function","function":{"name":"g"}},"messages":[{"role":"user","content":"u"}]}`)
	for kind, want := range map[Kind]string{
		LlamaCPP: `"required" 1`,
		VLLM:     `{"function":{"name":"g"},"type":"function"} 2`,
	} {
		_, b := asked(t, kind, r)
		choice, _ := json.Marshal(b["tool_choice"])
		if got := fmt.Sprintf("%s %d", choice, len(b["tools"].([]any))); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}

// TestWhatAnUpstreamWouldIgnoreIsRefused is of servers of which nothing but OpenAI's
// API is known.
func TestWhatAnUpstreamWouldIgnoreIsRefused(t *testing.T) {
	turns := `"model":"default","max_tokens":5,"messages":[{"role":"user","content":"u"}]`
	for param, r := range map[string]*dialect.Request{
		"top_k":          mustRead(t, openai.Chat, `{"top_k":5,`+turns+`}`),
		"min_p":          mustRead(t, openai.Chat, `{"min_p":0.1,`+turns+`}`),
		"stop_sequences": mustRead(t, anthropic.Messages, `{"stop_sequences":["x"],`+turns+`}`),
	} {
		_, _, err := (&Call{Request: r}).body(target{kind: Other})
		if err == nil || err.Param != param || err.Code != dialect.CodeUnsupported {
			t.Errorf("%s: %v", param, err)
		}
	}
	_, b := asked(t, Other, mustRead(t, openai.Chat, `{"top_p":0,`+turns+`}`))
	if b["temperature"] != 0.0 || b["top_k"] != nil {
		t.Errorf("the likeliest token is asked for with %v", b)
	}
}

func TestMetricsOfEachKindAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want stats
	}{
		"vLLM": {`# HELP vllm:num_requests_running x
vllm:num_requests_running{engine="0",model_name="a}b"} 2.0
vllm:num_requests_running{engine="1",model_name="a}b"} 1.0
vllm:num_requests_waiting{engine="0"} 4
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:prompt_tokens_total{engine="0"} 1e3
vllm:prefix_cache_hits_total{engine="0"} 100
vllm:generation_tokens_total{engine="0"} 50 1700000000
vllm:num_preemptions_total{engine="0"} 1
`, stats{3, 4, 0.5, true, 1000, 100, 50, 1}},
		"llama.cpp": {"llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:prompt_tokens_total 30\nllamacpp:prompt_tokens_cached_total 12\nllamacpp:tokens_predicted_total 7\n",
			stats{running: 1, waiting: 2, prompt: 42, cached: 12, generated: 7}},
		"garbage": {"vllm:num_requests_running\nvllm:num_requests_running{ 3\nvllm:num_requests_waiting NaN\n\x00\xff{}\n", stats{}},
	} {
		if got := readStats([]byte(c.text)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestEventsAreReadHoweverTheyCome cuts a stream into single bytes.
func TestEventsAreReadHoweverTheyCome(t *testing.T) {
	text := ": hello\n\nevent: x\ndata: one\n\ndata:two\r\ndata: three\r\n\r\nid: 7\n\n\ndata: cut off"
	e := newEvents(iotest.OneByteReader(strings.NewReader(text)), func() {})
	var got []string
	for {
		data, err := e.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		got = append(got, string(data))
	}
	if strings.Join(got, "|") != "one|two\nthree" {
		t.Errorf("%q", got)
	}
}

// FuzzAnswer feeds what upstreams might send: whatever it is, it is taken or refused.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\",\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}\n\ndata: [DONE]\n\n"), true)
	f.Add([]byte("data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":-1}}\n\n"), false)
	f.Fuzz(func(t *testing.T, stream []byte, chat bool) {
		a := newAnswer(&Call{Request: &dialect.Request{N: 2, Logprobs: true}, Piece: func(_ int, p dialect.Part, _ dialect.Usage) bool {
			return true
		}})
		take := a.message
		if chat {
			take = a.chunk
		}
		for e := newEvents(bytes.NewReader(stream), func() {}); ; {
			data, err := e.next()
			if err != nil {
				return
			}
			if end, err := take(target{kind: LlamaCPP}, data); end && err == nil {
				if a.over[0] != a.over[1] || !a.over[0] {
					t.Error("an answer is whole whose choices are not")
				}
				return
			} else if err != nil {
				return
			}
		}
	})
}
