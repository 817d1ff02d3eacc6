package openai

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

func TestChatBodyBecomesTheRequestThatItDescribes(t *testing.T) {
	r, err := Chat([]byte(`{"model":"m","messages":[
		{"role":"developer","content":"be brief"},
		{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
		{"role":"assistant","content":"c","refusal":null,"tool_calls":[],"annotations":[],"audio":null},
		{"role":"user","content":""}],
		"max_completion_tokens":7,"max_tokens":7,"temperature":0.5,"top_p":0.25,"top_k":-1,"min_p":0.125,"seed":-1,
		"stop":["x","y"],"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},
		"user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto","n":1,"logprobs":false,"top_logprobs":0,
		"tool_choice":"none","response_format":{"type":"text"},"logit_bias":{},"presence_penalty":0,"frequency_penalty":0.0,
		"modalities":["text"],"tools":null}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &dialect.Request{
		Model:       "m",
		Messages:    []dialect.Message{{Role: "system", Content: "be brief"}, {Role: "user", Content: "a\nb"}, {Role: "assistant", Content: "c"}, {Role: "user"}},
		Temperature: 0.5, TopP: 0.25, MinP: 0.125, Seed: 1<<64 - 1, N: 1, Stop: []string{"x", "y"},
		MaxTokens: 7, MaxTokensParam: "max_completion_tokens", Stream: true, IncludeUsage: true,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestDefaultsAreOpenAIs(t *testing.T) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"a"}]}`)
	first, err := Chat(body)
	if err != nil {
		t.Fatal(err)
	}
	if first.Temperature != 1 || first.TopP != 1 || first.TopK != 0 || first.MinP != 0 || first.MaxTokens != 0 || first.Stream {
		t.Errorf("got %+v", first)
	}
	second, _ := Chat(body)
	if first.Seed == second.Seed {
		t.Error("two requests without a seed got the same one")
	}
}

func TestTopPOfZeroLeavesTheLikeliestTokenAlone(t *testing.T) {
	for _, body := range []string{`{"model":"m","prompt":"a","top_p":0}`, `{"model":"m","prompt":"a","top_p":0,"top_k":50}`} {
		r, err := Completion([]byte(body))
		if err != nil || r.TopK != 1 {
			t.Errorf("%s: got %+v, %v", body, r, err)
		}
	}
}

func TestPromptMayBeTextOrTokens(t *testing.T) {
	for prompt, want := range map[string]dialect.Request{
		`"a"`: {Prompt: "a"}, `["a"]`: {Prompt: "a"}, `[1,2]`: {Tokens: []int32{1, 2}}, `[[3]]`: {Tokens: []int32{3}},
	} {
		r, err := Completion([]byte(`{"model":"m","prompt":` + prompt + `}`))
		if err != nil {
			t.Errorf("%s: %v", prompt, err)
		} else if r.Prompt != want.Prompt || !slices.Equal(r.Tokens, want.Tokens) {
			t.Errorf("%s: got %+v", prompt, r)
		}
	}
}

var end = dialect.Ending{Finish: api.FinishLength, Usage: dialect.Usage{Prompt: 5, Cached: 2, Completion: 3}}

// mask replaces what differs from answer to answer.
func mask(t *testing.T, e *Encoder, out []byte) string {
	t.Helper()
	if len(e.id) < 20 || e.created < 1700000000 {
		t.Errorf("id %q, created %d", e.id, e.created)
	}
	s := strings.ReplaceAll(string(out), e.id, "ID")
	created, _ := json.Marshal(e.created)
	return strings.ReplaceAll(s, string(created), "TIME")
}

func TestAnswersHaveOpenAIsShape(t *testing.T) {
	e := NewChat(`m"`, "fp_1", &dialect.Request{})
	got := mask(t, e, e.Answer(nil, []dialect.Choice{{Part: dialect.Part{Text: "a\n"}, Ending: end}}, end.Usage))
	want := `{"id":"ID","object":"chat.completion","created":TIME,"model":"m\"","system_fingerprint":"fp_1","choices":[{"index":0,"message":{"role":"assistant","content":"a\n","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}}`
	if got != want {
		t.Errorf("chat:\ngot  %s\nwant %s", got, want)
	}
	e = NewCompletion("m", "fp_1", &dialect.Request{})
	got = mask(t, e, e.Answer(nil, []dialect.Choice{{Part: dialect.Part{Text: "a"}, Ending: dialect.Ending{Finish: api.FinishStop}}}, dialect.Usage{}))
	want = `{"id":"ID","object":"text_completion","created":TIME,"model":"m","system_fingerprint":"fp_1","choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"prompt_tokens_details":{"cached_tokens":0}}}`
	if got != want {
		t.Errorf("completion:\ngot  %s\nwant %s", got, want)
	}
}

func TestStreamsHaveOpenAIsShape(t *testing.T) {
	stream := func(e *Encoder) string {
		return mask(t, e, append(e.Close(e.End(e.Delta(e.Open(nil, end.Usage), 0, dialect.Part{Text: "é"}), 0, end), end.Usage), e.Terminal()...))
	}
	head := `data: {"id":"ID","object":"chat.completion.chunk","created":TIME,"model":"m","system_fingerprint":"fp_1",`
	got := stream(NewChat("m", "fp_1", &dialect.Request{Stream: true, IncludeUsage: true}))
	want := head + `"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n" +
		head + `"choices":[{"index":0,"delta":{"content":"é"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n" +
		head + `"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null}` + "\n\n" +
		head + `"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}}` + "\n\n" +
		"data: [DONE]\n\n"
	if got != want {
		t.Errorf("chat:\ngot  %s\nwant %s", got, want)
	}
	head = strings.Replace(head, "chat.completion.chunk", "text_completion", 1)
	got = stream(NewCompletion("m", "fp_1", &dialect.Request{Stream: true}))
	want = head + `"choices":[{"index":0,"text":"é","logprobs":null,"finish_reason":null}]}` + "\n\n" +
		head + `"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}]}` + "\n\n" +
		"data: [DONE]\n\n"
	if got != want {
		t.Errorf("completion:\ngot  %s\nwant %s", got, want)
	}
}

func TestDeltaAllocatesNothing(t *testing.T) {
	e := NewChat("m", "fp_1", &dialect.Request{Stream: true})
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = e.Delta(buf[:0], 0, dialect.Part{Text: " word"}) }); n != 0 {
		t.Errorf("%g allocations a delta", n)
	}
}

func TestModelsAreListedByEachName(t *testing.T) {
	got := string(AppendModels(nil, 7, "m", "alias"))
	want := `{"object":"list","data":[{"id":"m","object":"model","created":7,"owned_by":"semantic"},{"id":"alias","object":"model","created":7,"owned_by":"semantic"}]}`
	if got != want {
		t.Errorf("got %s", got)
	}
}
