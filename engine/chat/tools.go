package chat

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// Tool is a function that the model may call.
type Tool struct {
	Name, Description string
	Parameters        string // the JSON schema of its arguments, an object; "" for none
}

// Call is a call of a tool that the assistant made.
type Call struct {
	ID, Name  string
	Arguments string // a JSON object
}

// CallForm is how an assistant writes a call: one of Heads, the tool's name, Arguments, the
// arguments as JSON, and Close.
type CallForm struct {
	Mark      string   // before each call; "" if an answer is either text or one call
	Heads     []string // the first is how a call that was made is shown
	Arguments string
	Close     string
	Between   string // between two calls; the second one's Mark is not in it
}

// The forms that we read: what Hermes, Qwen and others were taught, which is that of our
// own prompt too, and that of Llama 3.1 to 3.3, which is a JSON object alone.
var (
	Hermes = CallForm{
		Mark: "<tool_call>", Heads: []string{"\n{\"name\": \""}, Arguments: "\", \"arguments\": ",
		Close: "}\n</tool_call>", Between: "\n",
	}
	Llama3 = CallForm{
		Heads:     []string{"{\"name\": \"", "{\"type\": \"function\", \"name\": \""},
		Arguments: "\", \"parameters\": ", Close: "}",
	}
)

// Write returns a call as the assistant writes it.
func (f *CallForm) Write(name, arguments string) string {
	return f.Mark + f.Heads[0] + name + f.Arguments + arguments + f.Close
}

// Openings are the texts by which a call of one of the tools is known from other text.
func (f *CallForm) Openings(tools []string) (out []string) {
	if f.Mark != "" {
		return []string{f.Mark}
	}
	for _, head := range f.Heads {
		for _, name := range tools {
			out = append(out, head+name+f.Arguments)
		}
	}
	return out
}

// CallForm returns how answers to the template's prompts write calls.
func (t *Template) CallForm() *CallForm {
	if form := t.toolForm(); form != nil {
		return form
	}
	return &Hermes
}

// TakesTools says whether the template shows tools to the model, and calls in a form
// that we read.
func (t *Template) TakesTools() bool { return t.toolForm() != nil }

// toolForm returns the form in which the template itself shows calls, or nil if it shows
// no tools, or writes calls in a form that we do not read. It is found out by trying.
func (t *Template) toolForm() *CallForm {
	t.tried.Do(func() {
		const name = "probe_of_tools"
		ask := []Message{{Role: "user", Content: "a"}}
		tool := []Tool{{Name: name, Description: "b", Parameters: `{"type":"object","properties":{}}`}}
		shown, err := t.execute(ask, Options{Tools: tool}, escape)
		if err != nil || !strings.Contains(shown, name) {
			return
		}
		called, err := t.execute(append(ask,
			Message{Role: "assistant", Calls: []Call{{ID: "c", Name: name, Arguments: `{"d": 1}`}}},
			Message{Role: "tool", CallID: "c", Tool: name, Content: "result_of_probe"},
		), Options{}, escape)
		if err != nil || !strings.Contains(called, "result_of_probe") {
			return
		}
		for _, form := range []*CallForm{&Hermes, &Llama3} {
			if strings.Contains(called, form.Write(name, `{"d": 1}`)) {
				t.form = form
			}
		}
	})
	return t.form
}

// oneByOne returns the conversation with one call at most in a turn, each followed by
// its result, for templates that show no more.
func oneByOne(messages []Message) []Message {
	var out []Message
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		if len(m.Calls) < 2 {
			out = append(out, m)
			continue
		}
		end := i + 1
		for end < len(messages) && messages[end].Role == "tool" {
			end++
		}
		results := messages[i+1 : end]
		for n, call := range m.Calls {
			turn := Message{Role: m.Role, Calls: []Call{call}}
			if n == 0 {
				turn.Content = m.Content
			}
			out = append(out, turn)
			for _, r := range results {
				if r.CallID == call.ID {
					out = append(out, r)
				}
			}
		}
		i = end - 1
	}
	return out
}

// explain returns the conversation with our own tool prompt, for a template that knows
// nothing of tools: they are listed at the end of the system prompt, calls stand in the
// assistant's text, and results in the user's.
func explain(messages []Message, tools []Tool) []Message {
	var out []Message
	for _, m := range messages {
		last := len(out) - 1
		switch {
		case m.Role == "tool":
			result := "<tool_response>\n" + m.Content + "\n</tool_response>"
			if last >= 0 && out[last].Role == "tool" {
				out[last].Content += "\n" + result
				continue
			}
			m.Content = result
		case len(m.Calls) > 0:
			calls := make([]string, 0, len(m.Calls)+1)
			if m.Content != "" {
				calls = append(calls, m.Content)
			}
			for _, c := range m.Calls {
				calls = append(calls, Hermes.Write(c.Name, c.Arguments))
			}
			m.Content, m.Calls = strings.Join(calls, "\n"), nil
		}
		out = append(out, m)
	}
	for i := range out {
		if out[i].Role == "tool" {
			out[i] = Message{Role: "user", Content: out[i].Content}
		}
	}
	if len(tools) == 0 {
		return out
	}
	if len(out) > 0 && out[0].Role == "system" {
		out[0].Content += "\n\n" + toolPrompt(tools)
		return out
	}
	return append([]Message{{Role: "system", Content: toolPrompt(tools)}}, out...)
}

// toolPrompt is what docs/tools.md describes.
func toolPrompt(tools []Tool) string {
	var b strings.Builder
	b.WriteString("You can call tools. To call one, write exactly this, with the tool's name and its arguments as JSON:\n")
	b.WriteString(Hermes.Write("NAME", "{...}"))
	b.WriteString("\nIts result is then given to you in <tool_response></tool_response>. When no tool is needed, answer in plain words.\nThe tools, one a line, with the JSON schema of their arguments:")
	for _, tool := range tools {
		b.WriteString("\n")
		w := jsonWriter{}
		if err := w.write(tool.describe(func(s string) string { return s }), 0); err == nil {
			b.Write(w.b.Bytes())
		}
	}
	return b.String()
}

// describe returns the function as templates expect it.
func (tool Tool) describe(write func(string) string) *exec.Dict {
	f := dict("name", write(tool.Name))
	if tool.Description != "" {
		add(f, "description", write(tool.Description))
	}
	if tool.Parameters != "" {
		add(f, "parameters", jsonValue(tool.Parameters, write))
	}
	return f
}

// templateTools returns the tools as templates expect them, in OpenAI's form.
func templateTools(tools []Tool, write func(string) string) any {
	if len(tools) == 0 {
		return nil
	}
	list := make(sequence, len(tools))
	for i, tool := range tools {
		list[i] = dict("type", "function", "function", tool.describe(write))
	}
	return list
}

// templateCalls returns an assistant's calls as templates expect them.
func templateCalls(calls []Call, write func(string) string) sequence {
	list := make(sequence, len(calls))
	for i, c := range calls {
		list[i] = dict("id", write(c.ID), "type", "function",
			"function", dict("name", write(c.Name), "arguments", jsonValue(c.Arguments, write)))
	}
	return list
}

// dict returns a dictionary that keeps its order.
func dict(pairs ...any) *exec.Dict {
	d := exec.NewDict()
	for i := 0; i+1 < len(pairs); i += 2 {
		add(d, pairs[i].(string), pairs[i+1])
	}
	return d
}

func add(d *exec.Dict, key string, value any) {
	d.Pairs = append(d.Pairs, &exec.Pair{Key: exec.AsValue(key), Value: exec.AsValue(value)})
}

// jsonValue returns a JSON text as a value whose objects keep their order. Every string
// in it, names too, goes through write.
func jsonValue(text string, write func(string) string) any {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	return readValue(d, write)
}

func readValue(d *json.Decoder, write func(string) string) any {
	token, err := d.Token()
	if err != nil {
		return nil // it was parsed before: cannot be
	}
	switch token := token.(type) {
	case string:
		return write(token)
	case json.Number:
		if n, err := token.Int64(); err == nil {
			return int(n)
		}
		return token
	case json.Delim:
		if token == '[' {
			list := sequence{}
			for d.More() {
				list = append(list, readValue(d, write))
			}
			_, _ = d.Token()
			return list
		}
		object := exec.NewDict()
		for d.More() {
			name, _ := d.Token()
			key, _ := name.(string)
			add(object, write(key), readValue(d, write))
		}
		_, _ = d.Token()
		return object
	}
	return token // a boolean or nil
}
