package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

const messagesPath = "/v1/messages"

// messageBody is a body of Anthropic's with the fields added.
func messageBody(fields string) string {
	return `{"model":"default","max_tokens":8,"messages":[{"role":"user","content":"hello"}]` + fields + `}`
}

// block returns a body whose only message has that block.
func block(fields string) string {
	return `{"model":"default","max_tokens":8,"messages":[{"role":"user","content":[{` + fields + `}]}]}`
}

// anthropicMessage is an answer in Anthropic's shape.
type anthropicMessage struct {
	Type, Role string
	Content    []struct {
		Type, Text, ID, Name string
		Input                json.RawMessage
	}
	StopReason   string  `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
	Usage        struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
	}
}

func (r reply) message(t testing.TB) (m anthropicMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || r.status != http.StatusOK || m.Type != "message" || m.Role != "assistant" {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return m
}

func TestMessagesAnswerAsAChatDoes(t *testing.T) {
	e := startEngine(t, testConfig(t))
	want := e.post(chatPath, hello+`}`)
	r := e.post(messagesPath, messageBody(`,"temperature":0`))
	m := r.message(t)
	if m.StopReason != "max_tokens" || len(m.Content) != 1 || m.Content[0].Text != want.text(t) || m.Usage.Output != 8 || m.Usage.Input == 0 {
		t.Errorf("got %s, want the text %q", r.body, want.text(t))
	}
	if r.header.Get(api.HeaderFinish) != "length" || r.header.Get(api.HeaderCompletionTokens) != "8" {
		t.Errorf("headers %v", r.header)
	}
	stream := e.post(messagesPath, messageBody(`,"temperature":0,"stream":true`))
	var text strings.Builder
	var names []string
	for _, event := range strings.Split(strings.TrimSuffix(stream.body, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(strings.TrimPrefix(event, "event: "), "\ndata: ")
		var d struct {
			Type  string
			Delta struct{ Text string }
		}
		if err := json.Unmarshal([]byte(data), &d); err != nil || d.Type != name {
			t.Fatalf("%q: %v", event, err)
		}
		text.WriteString(d.Delta.Text)
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	if text.String() != want.text(t) {
		t.Errorf("streamed %q, want %q", text.String(), want.text(t))
	}
	if got, want := fmt.Sprint(names), "[message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop]"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if stream.outcome(api.HeaderFinish) != "length" || stream.outcome(api.HeaderPromptTokens) != want.outcome(api.HeaderPromptTokens) {
		t.Errorf("trailers %v", stream.trailer)
	}
}

func TestStopSequenceThatMatchedIsTold(t *testing.T) {
	e := startEngine(t, testConfig(t))
	full := e.post(messagesPath, messageBody(`,"temperature":0`)).message(t).Content[0].Text
	stop := full[3:5]
	want := full[:strings.Index(full, stop)]
	quoted, _ := json.Marshal(stop)
	fields := `,"temperature":0,"stop_sequences":["never this",` + string(quoted) + `]`
	m := e.post(messagesPath, messageBody(fields)).message(t)
	if m.StopReason != "stop_sequence" || m.StopSequence == nil || *m.StopSequence != stop || m.Content[0].Text != want {
		t.Errorf("got %+v, want %q before %q", m, want, stop)
	}
	stream := e.post(messagesPath, messageBody(fields+`,"stream":true`))
	if !strings.Contains(stream.body, `"stop_reason":"stop_sequence","stop_sequence":`+string(quoted)) {
		t.Errorf("streamed: %s", stream.body)
	}
}

func TestCountedTokensAreThoseOfTheMessage(t *testing.T) {
	e := startEngine(t, testConfig(t))
	prompt := `"system":"be brief","messages":[{"role":"user","content":"hello"}]`
	r := e.post(messagesPath+"/count_tokens", `{"model":"default",`+prompt+`}`)
	m := e.post(messagesPath, `{"model":"default","max_tokens":1,`+prompt+`}`).message(t)
	if want := fmt.Sprintf(`{"input_tokens":%d}`, m.Usage.Input); r.status != http.StatusOK || r.body != want {
		t.Errorf("%d %s, want %s", r.status, r.body, want)
	}
	if r.header.Get(api.HeaderFinish) != "ok" {
		t.Errorf("headers %v", r.header)
	}
}

func TestBadMessagesAreRefusedInAnthropicsShapeWithTheField(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for _, bad := range [][2]string{
		{``, "JSON"},
		{`[]`, "the body must be an object"},
		{`{"model":"default","messages":[{"role":"user","content":"a"}]}`, "max_tokens is missing"},
		{`{"max_tokens":8,"messages":[{"role":"user","content":"a"}]}`, "model is missing"},
		{`{"model":"default","max_tokens":8}`, "messages is missing"},
		{`{"model":"default","max_tokens":8,"messages":[]}`, "messages must not be empty"},
		{`{"model":"default","max_tokens":0,"messages":[{"role":"user","content":"a"}]}`, "max_tokens must be between"},
		{`{"model":"default","max_tokens":100000,"messages":[{"role":"user","content":"a"}]}`, "context length"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"system","content":"a"}]}`, "messages[0].role must be user or assistant"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"user","content":""}]}`, "messages[0].content must not be empty"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"user"}]}`, "messages[0].content is missing"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"user","content":7}]}`, "messages[0].content must be a string or an array"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"user","content":"a","name":"bob"}]}`, "messages[0].name"},
		{`{"model":"default","max_tokens":8,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, "messages[1]"},
		{block(`"type":"image","source":{}`), "messages[0].content[0].type"},
		{block(`"type":"smell"`), "messages[0].content[0].type must be text"},
		{block(`"text":"a"`), "messages[0].content[0].type is missing"},
		{block(`"type":"text"`), "messages[0].content[0].text is missing"},
		{block(`"type":"text","text":""`), "messages[0].content[0].text must not be empty"},
		{block(`"type":"text","text":"a","size":1`), "messages[0].content[0].size"},
		{block(`"type":"text","text":"a","cache_control":{"type":"forever"}`), "cache_control.type must be ephemeral"},
		{block(`"type":"text","text":"a","citations":[]`), "citations is not supported"},
		{block(`"type":"tool_result","tool_use_id":"x","content":"a"`), "answers a call that no message before it made: x"},
		{block(`"type":"tool_use","id":"x","name":"f","input":{}`), "the assistant alone calls tools"},
		{block(`"type":"text","text":"a"},{"type":"tool_result","tool_use_id":"x"`), "results of tools come before text"},
		{messageBody(`,"tools":[{"name":"f"}]`), "tools[0].input_schema is missing"},
		{messageBody(`,"tools":[{"type":"bash_20250124","name":"bash"}]`), "a tool of the type bash_20250124 is not supported"},
		{messageBody(`,"tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"string","pattern":"x"}}}}]`), "tools[0].input_schema.properties.a.pattern is not supported"},
		{messageBody(`,"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"g"}`), "tool_choice names a tool that is not among the tools: g"},
		{messageBody(`,"tool_choice":{"type":"any"}`), "tool_choice asks for a call, but there are no tools"},
		{messageBody(`,"tool_choice":{"type":"some"}`), "tool_choice.type must be auto, any, tool or none"},
		{messageBody(`,"system":7`), "system must be a string or an array"},
		{messageBody(`,"temperature":1.1`), "temperature must be between 0 and 1"},
		{messageBody(`,"top_p":2`), "top_p must be between"},
		{messageBody(`,"top_k":-1`), "top_k must be between"},
		{messageBody(`,"stop_sequences":"x"`), "stop_sequences must be an array"},
		{messageBody(`,"stop_sequences":[""]`), "stop_sequences[0] must have"},
		{messageBody(`,"stream":"yes"`), "stream must be a boolean"},
		{messageBody(`,"metadata":{"user":"x"}`), "metadata.user"},
		{messageBody(`,"metadata":{"user_id":7}`), "metadata.user_id must be a string"},
		{messageBody(`,"thinking":{"type":"enabled","budget_tokens":1024}`), "thinking other than disabled"},
		{messageBody(`,"service_tier":"gold"`), "service_tier must be"},
		{messageBody(`,"container":"x"`), "container is not supported"},
		{messageBody(`,"mcp_servers":[]`), "mcp_servers is not supported"},
		{messageBody(`,"seed":7`), "unknown parameter: seed"},
		{messageBody(`,"stop":["x"]`), "unknown parameter: stop"},
	} {
		r := e.post(messagesPath, bad[0])
		var got struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != 400 || got.Type != "error" || got.Error.Type != "invalid_request_error" || !strings.Contains(got.Error.Message, bad[1]) {
			t.Errorf("%.120s\ngot  %d %s\nwant 400 with %q", bad[0], r.status, r.body, bad[1])
		}
	}
	if r := e.post(messagesPath, strings.Replace(messageBody(""), "default", "gpt-5", 1)); r.status != 404 || !strings.Contains(r.body, `"type":"not_found_error"`) {
		t.Errorf("another model: %d %s", r.status, r.body)
	}
	if r := e.post(messagesPath+"/count_tokens", messageBody("")); r.status != 400 || !strings.Contains(r.body, "max_tokens") {
		t.Errorf("count_tokens takes max_tokens: %d %s", r.status, r.body)
	}
}
