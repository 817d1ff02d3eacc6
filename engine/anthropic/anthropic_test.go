package anthropic

import (
	"reflect"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

func TestBodyBecomesTheRequestThatItDescribes(t *testing.T) {
	r, err := Messages([]byte(`{"model":"m","max_tokens":7,"temperature":0.5,"top_p":0.25,"top_k":3,"stop_sequences":["x"],"stream":true,
		"system":[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral","ttl":"5m"}},{"type":"text","text":"be kind"}],
		"metadata":{"user_id":"u"},"service_tier":"auto","thinking":{"type":"disabled"},
		"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]},
			{"role":"assistant","content":[{"type":"text","text":"d","citations":null}]},{"role":"user","content":"e"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &dialect.Request{
		Dialect: api.Anthropic, Model: "m", MaxTokens: 7, MaxTokensParam: "max_tokens", Temperature: 0.5, TopP: 0.25, TopK: 3, Stop: []string{"x"}, Stream: true, Seed: r.Seed,
		Messages: []dialect.Message{
			{Role: "system", Content: "be brief\nbe kind"}, {Role: "user", Content: "a\nb\nc"}, {Role: "assistant", Content: "d"}, {Role: "user", Content: "e"},
		},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	c, err := CountTokens([]byte(`{"model":"m","system":"s","messages":[{"role":"user","content":"a"}]}`))
	if err != nil || len(c.Messages) != 2 {
		t.Errorf("count_tokens: %+v, %v", c, err)
	}
}

var counts = dialect.Usage{Prompt: 5, Cached: 2, Completion: 3}

func choice(text string, f api.Finish, stop string) dialect.Choice {
	return dialect.Choice{Part: dialect.Part{Text: text}, Ending: dialect.Ending{Finish: f, Stop: stop, Usage: counts}}
}

func TestAnswersHaveAnthropicsShape(t *testing.T) {
	const head = `{"id":"ID","type":"message","role":"assistant","model":"m","content":[`
	const usage = `"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"output_tokens":3}}`
	for want, c := range map[string]dialect.Choice{
		`{"type":"text","text":"a\""}],"stop_reason":"end_turn","stop_sequence":null,`:   choice(`a"`, api.FinishStop, ""),
		`{"type":"text","text":"a"}],"stop_reason":"max_tokens","stop_sequence":null,`:   choice("a", api.FinishLength, ""),
		`{"type":"text","text":"a"}],"stop_reason":"stop_sequence","stop_sequence":"x",`: choice("a", api.FinishStop, "x"),
		`],"stop_reason":"end_turn","stop_sequence":null,`:                               choice("", api.FinishStop, ""),
	} {
		e := NewEncoder("m", &dialect.Request{})
		got := strings.ReplaceAll(string(e.Answer(nil, []dialect.Choice{c}, counts)), e.id, "ID")
		if got != head+want+usage {
			t.Errorf("got  %s\nwant %s", got, head+want+usage)
		}
	}
}

func TestStreamsHaveAnthropicsEvents(t *testing.T) {
	e := NewEncoder("m", &dialect.Request{Stream: true})
	out := e.Delta(e.Open(nil, dialect.Usage{Prompt: 5, Completion: 1}), 0, dialect.Part{Text: "é"})
	out = e.Close(e.End(out, 0, choice("", api.FinishStop, "x").Ending), counts)
	got := strings.ReplaceAll(string(out)+e.Terminal(), e.id, "ID")
	want := ""
	for _, event := range [][2]string{
		{"message_start", `{"type":"message_start","message":{"id":"ID","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}`},
		{"content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`},
		{"ping", `{"type":"ping"}`},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"é"}}`},
		{"content_block_stop", `{"type":"content_block_stop","index":0}`},
		{"message_delta", `{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"x"},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"output_tokens":3}}`},
		{"message_stop", `{"type":"message_stop"}`},
	} {
		want += "event: " + event[0] + "\ndata: " + event[1] + "\n\n"
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
