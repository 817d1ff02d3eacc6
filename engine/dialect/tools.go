package dialect

import (
	"encoding/json"
	"strings"
)

// Tool is a function that the model may call.
type Tool struct {
	Name, Description string
	Parameters        *Value // the JSON schema of its arguments, an object; nil for none
}

// ToolUse says what of the tools an answer must call.
type ToolUse struct {
	Must bool   // one of them at least
	Name string // that one alone; "" for any
	Once bool   // no more than one call
}

// Call is a call of a tool that an answer made.
type Call struct {
	ID, Name  string
	Arguments string // a JSON object; cut off where the answer was
	Complete  bool
}

// CallDelta is a piece of a call that is being made. The first of a call has its name.
type CallDelta struct {
	Index     int // of the call in the answer
	Name      string
	Arguments string // what is new of them
	Complete  bool   // nothing more follows
}

// JoinCalls returns the calls that the pieces make up.
func JoinCalls(pieces []CallDelta) []Call {
	var calls []Call
	for _, p := range pieces {
		if p.Index == len(calls) {
			calls = append(calls, Call{Name: p.Name})
		}
		c := &calls[p.Index]
		c.Arguments += p.Arguments
		c.Complete = p.Complete
	}
	return calls
}

const (
	maxTools    = 128
	maxToolName = 64
)

// ToolName reads the name of a tool: letters, digits, _ and -.
func (v Value) ToolName() string {
	name := v.String()
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	if odd || name == "" || len(name) > maxToolName {
		v.Fail(CodeInvalidValue, "%s must have 1 to %d letters, digits, _ or -", v.name(), maxToolName)
	}
	return name
}

// Tools reads a list of tools, each by read. No two may have one name.
func (v Value) Tools(read func(Value) Tool) []Tool {
	values := v.Elements()
	if len(values) > maxTools {
		v.Fail(CodeInvalidValue, "%s must hold at most %d tools, not %d", v.name(), maxTools, len(values))
		return nil
	}
	var out []Tool
	known := map[string]bool{}
	for _, value := range values {
		t := read(value)
		if known[t.Name] {
			value.Fail(CodeInvalidValue, "%s has the name of another tool: %s", value.name(), clip(t.Name))
		}
		known[t.Name] = true
		out = append(out, t)
	}
	return out
}

// NeedTool notes a fault where the tool that must be called is none of those given.
func (v Value) NeedTool(tools []Tool, use ToolUse) {
	for _, t := range tools {
		if use.Name == "" || t.Name == use.Name {
			return
		}
	}
	if use.Must && use.Name == "" {
		v.Fail(CodeInvalidValue, "%s asks for a call, but there are no tools", v.name())
	} else if use.Must {
		v.Fail(CodeInvalidValue, "%s names a tool that is not among the tools: %s", v.name(), clip(use.Name))
	}
}

// Arguments reads the arguments of an earlier call, a JSON object written in a string.
func (v Value) Arguments() string {
	text := v.String()
	inner, err := Parse([]byte(text))
	if v.Err() == nil && (err != nil || inner.Kind() != KindObject) {
		v.Fail(CodeInvalidValue, "%s must be a JSON object, written in a string", v.name())
	}
	return text
}

// CompactObject returns an object in one line, as the body has it otherwise.
func (v Value) CompactObject() string {
	if !v.is(KindObject) {
		return "{}"
	}
	var b strings.Builder
	d := json.NewDecoder(strings.NewReader(string(v.raw)))
	d.UseNumber()
	writeOrdered(&b, d)
	return b.String()
}

// writeOrdered copies one value, with the spaces of the calls that an answer makes:
// one after each colon and comma.
func writeOrdered(b *strings.Builder, d *json.Decoder) {
	token, err := d.Token()
	if err != nil {
		return // the body was parsed before: cannot fail
	}
	open, nested := token.(json.Delim)
	if !nested {
		writeScalar(b, token)
		return
	}
	b.WriteRune(rune(open))
	for first := true; d.More(); first = false {
		if !first {
			b.WriteString(", ")
		}
		if open == '{' {
			name, _ := d.Token()
			writeScalar(b, name)
			b.WriteString(": ")
		}
		writeOrdered(b, d)
	}
	end, _ := d.Token()
	if end, ok := end.(json.Delim); ok {
		b.WriteRune(rune(end))
	}
}

func writeScalar(b *strings.Builder, token json.Token) {
	if s, ok := token.(string); ok {
		b.Write(AppendString(nil, s))
		return
	}
	text, err := json.Marshal(token)
	if err == nil { // cannot fail
		b.Write(text)
	}
}

// CheckResults notes a fault where a tool's result answers no call before it.
func CheckResults(messages []Message, at func(i int) Value) {
	names := map[string]string{}
	for i := range messages {
		m := &messages[i]
		for _, c := range m.Calls {
			names[c.ID] = c.Name
		}
		if m.Role != "tool" {
			continue
		}
		name, ok := names[m.CallID]
		if !ok {
			v := at(i)
			v.Fail(CodeInvalidValue, "%s answers a call that no message before it made: %s", v.name(), clip(m.CallID))
		}
		m.Tool = name
	}
}
