package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

const (
	townSchema = `{"type":"object","properties":{"town":{"enum":["Rome","Oslo \"}"]},"days":{"type":"integer","minimum":1,"maximum":7}},"required":["town"]}`
	openTools  = `"tools":[{"type":"function","function":{"name":"weather","description":"Tells the weather.","parameters":` + townSchema + `}},{"type":"function","function":{"name":"now"}}]`
	anthTools  = `"tools":[{"name":"weather","description":"Tells the weather.","input_schema":` + townSchema + `},{"name":"now","input_schema":{"type":"object","properties":{},"additionalProperties":false}}]`
)

// toolConfig is of a model whose context has room for tools.
func toolConfig(t *testing.T) Config {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 4096})
	return cfg
}

// called is what an answer calls, from JSON or from a stream of either dialect.
type called struct {
	id, name, arguments string
}

// calls reads the calls of an answer of OpenAI's, as an SDK puts them together.
func (r reply) calls(t *testing.T) (all []called, finish string) {
	t.Helper()
	for _, data := range append(events(r.body), r.body) {
		var chunk struct {
			Choices []struct {
				Message, Delta struct {
					ToolCalls []struct {
						Index    *int
						ID, Type string
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				FinishReason string `json:"finish_reason"`
			}
		}
		if json.Unmarshal([]byte(data), &chunk) != nil || len(chunk.Choices) == 0 {
			continue
		}
		c := chunk.Choices[0]
		for i, call := range append(c.Message.ToolCalls, c.Delta.ToolCalls...) {
			if call.Index != nil {
				i = *call.Index
			}
			if i == len(all) {
				all = append(all, called{id: call.ID, name: call.Function.Name})
				if call.Type != "function" || !strings.HasPrefix(call.ID, "call_") {
					t.Errorf("the call begins with %s", data)
				}
			}
			all[i].arguments += call.Function.Arguments
		}
		finish += c.FinishReason
	}
	return all, finish
}

// blocks reads the calls of an answer of Anthropic's.
func (r reply) blocks(t *testing.T) (all []called, reason string) {
	t.Helper()
	type block struct {
		Type, ID, Name string
		Input          json.RawMessage
	}
	var whole struct {
		Content    []block
		StopReason string `json:"stop_reason"`
	}
	if json.Unmarshal([]byte(r.body), &whole) == nil {
		for _, b := range whole.Content {
			if b.Type == "tool_use" {
				all = append(all, called{b.ID, b.Name, string(b.Input)})
			}
		}
		return all, whole.StopReason
	}
	open := -1
	for _, event := range strings.Split(r.body, "\n\n") {
		_, data, _ := strings.Cut(event, "\ndata: ")
		var e struct {
			Type         string
			Index        int
			ContentBlock block `json:"content_block"`
			Delta        struct {
				PartialJSON string `json:"partial_json"`
				StopReason  string `json:"stop_reason"`
			}
		}
		if json.Unmarshal([]byte(data), &e) != nil {
			continue
		}
		switch e.Type {
		case "content_block_start":
			if open >= 0 || e.Index != len(all) {
				t.Errorf("block %d begins in block %d", e.Index, open)
			}
			open = e.Index
			all = append(all, called{id: e.ContentBlock.ID, name: e.ContentBlock.Name})
		case "content_block_stop":
			open = -1
		case "content_block_delta":
			all[e.Index].arguments += e.Delta.PartialJSON
		case "message_delta":
			reason = e.Delta.StopReason
		}
	}
	return all, reason
}

// checkCalls holds calls against the schemas of the tools.
func checkCalls(t *testing.T, calls []called, names ...string) {
	t.Helper()
	if len(calls) == 0 {
		t.Error("nothing is called")
	}
	for _, c := range calls {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+c.name+" ") || c.id == "" {
			t.Errorf("called: %+v", c)
		}
		schema := townSchema
		if c.name == "now" {
			schema = `{"type":"object","maxProperties":0}`
		}
		mustValidate(t, schema, c.arguments)
	}
}

func TestToolChoiceIsEnforcedInBothDialects(t *testing.T) {
	for form, cfg := range map[string]Config{"Hermes": toolConfig(t), "Llama 3": llama3Config(t)} {
		t.Run(form, func(t *testing.T) { enforcesToolChoice(t, startEngine(t, cfg)) })
	}
}

func enforcesToolChoice(t *testing.T, e *testEngine) {
	used := map[string]bool{}
	for seed := range 6 {
		for choice, names := range map[string][]string{
			`"required"`: {"weather", "now"}, `{"type":"function","function":{"name":"weather"}}`: {"weather"}, `{"type":"function","function":{"name":"now"}}`: {"now"},
		} {
			body := fmt.Sprintf(`{"model":"default","messages":[{"role":"user","content":"Rome?"}],%s,"tool_choice":%s,"parallel_tool_calls":false,"seed":%d,"max_tokens":300,"stream":%%t}`, openTools, choice, seed)
			whole, finish := e.post(chatPath, fmt.Sprintf(body, false)).calls(t)
			streamed, reason := e.post(chatPath, fmt.Sprintf(body, true)).calls(t)
			checkCalls(t, whole, names...)
			if finish != "tool_calls" || reason != "tool_calls" || len(whole) != 1 || len(streamed) != 1 || whole[0].arguments != streamed[0].arguments || whole[0].name != streamed[0].name {
				t.Errorf("%s: %+v (%s), streamed %+v (%s)", choice, whole, finish, streamed, reason)
			}
			used[whole[0].name] = true
		}
		for choice, names := range map[string][]string{`{"type":"any"}`: {"weather", "now"}, `{"type":"tool","name":"weather"}`: {"weather"}} {
			choice = strings.Replace(choice, "}", `,"disable_parallel_tool_use":true}`, 1)
			for _, stream := range []bool{false, true} {
				r := e.post(messagesPath, fmt.Sprintf(`{"model":"default","messages":[{"role":"user","content":"Rome?"}],%s,"tool_choice":%s,"max_tokens":300,"stream":%t}`, anthTools, choice, stream))
				calls, reason := r.blocks(t)
				checkCalls(t, calls, names...)
				if len(calls) != 1 || reason != "tool_use" || r.outcome(api.HeaderFinish) != "tool_calls" {
					t.Errorf("%s: %s (%s)", choice, r.body, r.outcome(api.HeaderFinish))
				}
			}
		}
	}
	if !used["now"] || !used["weather"] {
		t.Errorf("required chose %v alone", used)
	}
}

func TestCallThatIsCutOffSaysLength(t *testing.T) {
	const short = 56 // the shortest call has 60 tokens; its arguments begin before the 54th
	e := startEngine(t, toolConfig(t))
	body := `{"model":"default","messages":[{"role":"user","content":"Rome?"}],` + openTools + `,"tool_choice":{"type":"function","function":{"name":"weather"}},"seed":1,"max_tokens":%d,"stream":%t}`
	for _, stream := range []bool{false, true} {
		r := e.post(chatPath, fmt.Sprintf(body, short, stream))
		calls, finish := r.calls(t)
		if finish != "length" || len(calls) != 1 || calls[0].name != "weather" || !strings.HasPrefix(calls[0].arguments, `{"town":`) || json.Valid([]byte(calls[0].arguments)) {
			t.Errorf("%s: %+v (%s)", r.body, calls, finish)
		}
	}
	r := e.post(messagesPath, `{"model":"default","messages":[{"role":"user","content":"Rome?"}],`+anthTools+`,"tool_choice":{"type":"tool","name":"weather"},"max_tokens":`+fmt.Sprint(short)+`}`)
	if calls, reason := r.blocks(t); reason != "max_tokens" || len(calls) != 0 {
		t.Errorf("%s", r.body)
	}
}

func TestToolsThatNeedNotBeCalledLeaveThePlainAnswer(t *testing.T) {
	e := startEngine(t, toolConfig(t))
	plain := `{"model":"default","messages":[{"role":"user","content":"Rome?"}],"temperature":0,"max_tokens":8%s}`
	want := e.post(chatPath, fmt.Sprintf(plain, "")).text(t)
	if got := e.post(chatPath, fmt.Sprintf(plain, `,"tool_choice":"none",`+openTools)).text(t); got != want {
		t.Errorf("with tool_choice none: %q, want %q", got, want)
	}
	r := e.post(chatPath, fmt.Sprintf(plain, ","+openTools))
	if calls, finish := r.calls(t); len(calls) != 0 || finish != "length" || r.text(t) == "" {
		t.Errorf("%s", r.body)
	}
	if r.number(t, api.HeaderPromptTokens) < 200 {
		t.Errorf("the prompt of %s tokens does not show the tools", r.outcome(api.HeaderPromptTokens))
	}
	e.post(messagesPath, `{"model":"default","messages":[{"role":"user","content":"Rome?"}],`+anthTools+`,"max_tokens":8,"stream":true}`).mustStream(t)
}

// mustStream fails if a stream did not come to its end.
func (r reply) mustStream(t *testing.T) {
	t.Helper()
	if !strings.HasSuffix(r.body, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") || strings.Count(r.body, "event: content_block_start") != strings.Count(r.body, "event: content_block_stop") {
		t.Errorf("%s", r.body)
	}
}

// speaks lets a sequence with tools say a text, token by token of one byte each but for
// those that are given as one, and returns what its reader gets.
func speaks(t *testing.T, n *native, r *dialect.Request, tokens ...string) (said string, calls []dialect.Call, finish api.Finish) {
	t.Helper()
	g := newGeneration(t.Context(), true, time.Time{})
	seq := n.sequence(admission{Request: r, arrival: time.Time{}}, 0, g, []int32{1}, 1000)
	if err := n.shape(seq, r); err != nil {
		t.Fatal(err)
	}
	words := listed(tokens)
	for i := range tokens {
		if finish, _ = seq.accept(int32(i), words, time.Time{}); finish != "" {
			break
		}
	}
	if finish == "" {
		finish, _ = seq.accept(int32(len(tokens)), words, time.Time{})
	}
	part, _ := g.take()
	return part.Text, dialect.JoinCalls(part.Calls), finish
}

// listed is a vocabulary of some tokens, and one that ends the answer.
type listed []string

func (l listed) Piece(token int32) []byte { return []byte(l[token]) }
func (l listed) IsEnd(token int32) bool   { return int(token) == len(l) }

func TestCallsAreReadOutOfAnAnswerWhereverItsTokensPart(t *testing.T) {
	n := startEngine(t, testConfig(t)).current().(*native)
	town, fault := dialect.Parse([]byte(townSchema))
	if fault != nil {
		t.Fatal(fault)
	}
	r := &dialect.Request{Temperature: 1, TopP: 1, Stop: []string{"\"}"}, Tools: []dialect.Tool{{Name: "weather", Parameters: &town}, {Name: "now"}}}
	rome, now := chat.Hermes.Write("weather", `{"town": "Oslo \"}", "days": 3}`), chat.Hermes.Write("now", "{}")
	answer := "Let me see. " + rome + "\n" + now
	for size := 1; size < len(answer); size += 1 + size/4 {
		var tokens []string
		for left := answer; left != ""; {
			k := min(size, len(left))
			tokens, left = append(tokens, left[:k]), left[k:]
		}
		said, calls, finish := speaks(t, n, r, tokens...)
		if said != "Let me see. " || finish != api.FinishToolCalls || len(calls) != 2 || calls[0].Name != "weather" || calls[1].Name != "now" ||
			calls[0].Arguments != `{"town": "Oslo \"}", "days": 3}` || calls[1].Arguments != "{}" || !calls[0].Complete || !calls[1].Complete {
			t.Errorf("in tokens of %d bytes: %q, %+v, %s", size, said, calls, finish)
		}
	}
	for text, want := range map[string]string{
		"a <tool_call> b": "a <tool_call> b", "<tool_call>{\"x\"": "<tool_call>{\"x\"", "a <tool_ca": "a <tool_ca", "<tool_call><tool_call> c": "<tool_call><tool_call> c",
		"it ends \"} here": "it ends ",
	} {
		if said, calls, finish := speaks(t, n, r, text); said != want || len(calls) != 0 || finish != api.FinishStop {
			t.Errorf("%q: said %q, called %+v, %s", text, said, calls, finish)
		}
	}
}

// Llama 3 writes a call as JSON and nothing else, so that other JSON must be told from it.
func TestLlama3sCallsAreReadOutOfAnAnswerWhereverItsTokensPart(t *testing.T) {
	n := startEngine(t, llama3Config(t)).current().(*native)
	town, fault := dialect.Parse([]byte(townSchema))
	if fault != nil {
		t.Fatal(fault)
	}
	r := &dialect.Request{Temperature: 1, TopP: 1, Tools: []dialect.Tool{{Name: "weather", Parameters: &town}, {Name: "now"}}}
	const arguments = `{"town": "Oslo \"}", "days": 3}`
	for _, answer := range []string{chat.Llama3.Write("weather", arguments), "\n\n" + chat.Llama3.Write("weather", arguments), `{"type": "function", "name": "weather", "parameters": ` + arguments + "}"} {
		for size := 1; size < len(answer); size += 1 + size/4 {
			var tokens []string
			for left := answer; left != ""; {
				k := min(size, len(left))
				tokens, left = append(tokens, left[:k]), left[k:]
			}
			said, calls, finish := speaks(t, n, r, tokens...)
			if strings.TrimSpace(said) != "" || finish != api.FinishToolCalls || len(calls) != 1 || calls[0].Name != "weather" || calls[0].Arguments != arguments || !calls[0].Complete {
				t.Errorf("%q in tokens of %d bytes: %q, %+v, %s", answer, size, said, calls, finish)
			}
		}
	}
	for _, said := range []string{
		`{"name": "Alice", "parameters": {}}`, `{"name": "weathers`, `{"name": "weather", "parameters": 7}`, `{"name": "now"}`,
		"A call is " + chat.Llama3.Write("now", "{}"), `{"name": "now", "parameters": 1} ` + chat.Llama3.Write("now", "{}"),
	} {
		if got, calls, finish := speaks(t, n, r, said); got != said || len(calls) != 0 || finish != api.FinishStop {
			t.Errorf("%q: said %q, called %+v, %s", said, got, calls, finish)
		}
	}
}

// llama3Config is of a model that writes calls as Llama 3 does.
func llama3Config(t *testing.T) Config {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 4096, ChatTemplate: enginetest.Llama3Template})
	return cfg
}

func TestConversationWithCallsReachesTheModel(t *testing.T) {
	e := startEngine(t, toolConfig(t))
	n := e.current().(*native)
	open := `{"model":"default","max_tokens":4,"temperature":0,"messages":[{"role":"user","content":"Rome?"},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"town\": \"Rome\"}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"sunny"}]}`
	anth := `{"model":"default","max_tokens":4,"temperature":0,"messages":[{"role":"user","content":"Rome?"},
		{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"weather","input":{"town":"Rome"}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"sunny"}]}]}]}`
	tokens, err := n.template.Tokens([]chat.Message{
		{Role: "user", Content: "Rome?"}, {Role: "assistant", Content: chat.Hermes.Write("weather", `{"town": "Rome"}`)}, {Role: "user", Content: "<tool_response>\nsunny\n</tool_response>"},
	}, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{chatPath: open, messagesPath: anth} {
		r := e.post(path, body)
		if r.status != 200 || r.number(t, api.HeaderPromptTokens) != float64(len(tokens)) {
			t.Errorf("%s: %s prompt tokens, want %d: %s", path, r.outcome(api.HeaderPromptTokens), len(tokens), r.body)
		}
	}
}

// TestAgentKeepsTheCallsItMade: the next turn of a conversation begins with the tokens of
// the call that the last one made, so that nothing of it is computed again.
func TestAgentKeepsTheCallsItMade(t *testing.T) {
	cfg := agentConfig(t)
	cfg.Model, cfg.KVMemory = toolConfig(t).Model, 64<<20
	e := startEngine(t, cfg)
	ask := `{"role":"user","content":"Rome?"}`
	body := `{"model":"default","seed":5,"max_tokens":150,` + openTools + `,"tool_choice":"required","parallel_tool_calls":false,"messages":[%s]}`
	first := e.post(chatPath, fmt.Sprintf(body, ask), as("acme", "a")...)
	calls, finish := first.calls(t)
	if finish != "tool_calls" || len(calls) != 1 {
		t.Fatalf("%s", first.body)
	}
	arguments, _ := json.Marshal(calls[0].arguments)
	grown := ask + fmt.Sprintf(`,{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":%q,"arguments":%s}}]},{"role":"tool","tool_call_id":"c","content":"x"}`, calls[0].name, arguments)
	second := e.post(chatPath, fmt.Sprintf(body, grown), as("acme", "a")...)
	held := first.number(t, api.HeaderPromptTokens) + first.number(t, api.HeaderCompletionTokens)
	if cached := second.number(t, api.HeaderCachedTokens); cached < held-32 {
		t.Errorf("%g tokens of %g were cached", cached, held)
	}
}
