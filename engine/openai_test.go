package engine

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

const hello = `{"model":"default","messages":[{"role":"user","content":"hello"}],"temperature":0,"max_tokens":8`

func TestChatAnswersInOpenAIsShape(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post("/v1/chat/completions", hello+`}`)
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v: %s", r.status, r.header, r.body)
	}
	shape := regexp.MustCompile(`^\{"id":"chatcmpl-[0-9a-f]{32}","object":"chat.completion","created":[0-9]{10},"model":"random","system_fingerprint":"fp_[0-9a-f]{12}",` +
		`"choices":\[\{"index":0,"message":\{"role":"assistant","content":"[^"]+","refusal":null\},"logprobs":null,"finish_reason":"length"\}\],` +
		`"usage":\{"prompt_tokens":[0-9]+,"completion_tokens":8,"total_tokens":[0-9]+,"prompt_tokens_details":\{"cached_tokens":0\}\}\}$`)
	if !shape.MatchString(r.body) {
		t.Errorf("got %s", r.body)
	}
	if again := e.post("/v1/chat/completions", hello+`}`); again.text(t) != r.text(t) {
		t.Errorf("greedy answers differ: %q and %q", r.text(t), again.text(t))
	}
}

func TestStreamSaysTheSameAsTheWholeAnswer(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for path, body := range map[string]string{
		"/v1/chat/completions": hello,
		"/v1/completions":      `{"model":"default","prompt":"hello","temperature":0,"max_tokens":8`,
	} {
		whole := e.post(path, body+`}`)
		stream := e.post(path, body+`,"stream":true}`)
		if whole.text(t) == "" || whole.text(t) != stream.text(t) {
			t.Errorf("%s: whole %q, stream %q", path, whole.text(t), stream.text(t))
		}
		if got := stream.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("%s: Content-Type %q", path, got)
		}
		if !strings.HasSuffix(stream.body, "data: [DONE]\n\n") {
			t.Errorf("%s: the stream ends with %q", path, stream.body[max(0, len(stream.body)-60):])
		}
	}
}

func TestChunksComeInOpenAIsOrder(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post("/v1/chat/completions", hello+`,"stream":true,"stream_options":{"include_usage":true}}`)
	data := events(r.body)
	type chunk struct {
		Object  string
		Choices []struct {
			Delta        map[string]any
			FinishReason *string `json:"finish_reason"`
		}
		Usage *struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		}
	}
	var chunks []chunk
	for _, d := range data[:len(data)-1] {
		var c chunk
		if err := json.Unmarshal([]byte(d), &c); err != nil {
			t.Fatalf("%q: %v", d, err)
		}
		if c.Object != "chat.completion.chunk" {
			t.Errorf("object %q", c.Object)
		}
		chunks = append(chunks, c)
	}
	first, last, usage := chunks[0], chunks[len(chunks)-2], chunks[len(chunks)-1]
	if want := map[string]any{"role": "assistant", "content": "", "refusal": nil}; !reflect.DeepEqual(first.Choices[0].Delta, want) {
		t.Errorf("the first delta is %v", first.Choices[0].Delta)
	}
	for _, c := range chunks[1 : len(chunks)-2] {
		if len(c.Choices[0].Delta) != 1 || c.Choices[0].Delta["content"] == "" || c.Choices[0].FinishReason != nil || c.Usage != nil {
			t.Errorf("a delta is %+v", c)
		}
	}
	if len(last.Choices[0].Delta) != 0 || last.Choices[0].FinishReason == nil || *last.Choices[0].FinishReason != "length" {
		t.Errorf("the last delta is %+v", last)
	}
	if len(usage.Choices) != 0 || usage.Usage == nil || usage.Usage.CompletionTokens != 8 {
		t.Errorf("the usage chunk is %+v", usage)
	}
}

func TestModelAnswersToEachOfItsNames(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for _, name := range []string{"default", "random", "other"} {
		r := e.post("/v1/completions", `{"model":"`+name+`","prompt":"a","max_tokens":1}`)
		if r.status != http.StatusOK || !strings.Contains(r.body, `"model":"random"`) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	r := e.call(http.MethodGet, "/v1/models", "")
	if r.status != http.StatusOK || r.header.Get(api.HeaderFinish) != "ok" ||
		!strings.Contains(r.body, `"id":"random"`) || !strings.Contains(r.body, `"id":"other"`) {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
}

func TestStopStringEndsTheAnswerBeforeIt(t *testing.T) {
	e := startEngine(t, testConfig(t))
	const body = `{"model":"default","prompt":"hello","temperature":0,"max_tokens":12`
	full := e.post("/v1/completions", body+`}`).text(t)
	stop := full[5:7]
	want := full[:strings.Index(full, stop)]
	quoted, _ := json.Marshal(stop)
	for _, stream := range []string{"false", "true"} {
		r := e.post("/v1/completions", body+`,"stop":`+string(quoted)+`,"stream":`+stream+`}`)
		if got := r.text(t); got != want {
			t.Errorf("stream %s: got %q, want %q", stream, got, want)
		}
		if r.outcome(api.HeaderFinish) != "stop" || !strings.Contains(r.body, `"finish_reason":"stop"`) {
			t.Errorf("stream %s: finish %q", stream, r.outcome(api.HeaderFinish))
		}
	}
}

func TestSeedRepeatsAnAnswer(t *testing.T) {
	e := startEngine(t, testConfig(t))
	answer := func(seed string) string {
		return e.post("/v1/completions", `{"model":"default","prompt":"hello","temperature":1.5,"max_tokens":16,"seed":`+seed+`}`).text(t)
	}
	if a, b := answer("7"), answer("7"); a != b {
		t.Errorf("one seed gave %q and %q", a, b)
	}
	if a, b := answer("7"), answer("8"); a == b {
		t.Errorf("two seeds gave the same %q", a)
	}
}

func TestPromptOfTokensEqualsThatOfText(t *testing.T) {
	e := startEngine(t, testConfig(t))
	answer := func(prompt string) string {
		return e.post("/v1/completions", `{"model":"default","prompt":`+prompt+`,"temperature":0,"max_tokens":8}`).text(t)
	}
	// In the random models, a byte's token is the byte and three.
	if a, b := answer(`"xyz"`), answer(`[123,124,125]`); a != b {
		t.Errorf("text gave %q, its tokens %q", a, b)
	}
	if a, b := answer(`["xyz"]`), answer(`[[123,124,125]]`); a != b {
		t.Errorf("text gave %q, its tokens %q", a, b)
	}
}
