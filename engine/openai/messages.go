package openai

import (
	"strings"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// messages reads the turns of a chat.
func messages(v dialect.Value) []dialect.Message {
	values := v.Elements()
	if len(values) == 0 {
		v.Fail(dialect.CodeInvalidValue, "messages must not be empty")
		return nil
	}
	out := make([]dialect.Message, len(values))
	for i, m := range values {
		out[i] = message(m)
	}
	if v.Err() == nil {
		dialect.CheckResults(out, func(i int) dialect.Value { return values[i] })
	}
	return out
}

func message(v dialect.Value) dialect.Message {
	o := v.Object()
	// An answer's message may be sent back as it came, with its empty fields.
	o.Allow("role", "content", "name", "refusal", "annotations", "audio", "function_call", "tool_calls", "tool_call_id")
	for _, name := range []string{"name", "refusal", "audio", "function_call"} {
		if f, ok := o.Get(name); ok {
			f.Unsupported(f.Param())
		}
	}
	if f, ok := o.Get("annotations"); ok && len(f.Elements()) > 0 {
		f.Unsupported(f.Param())
	}
	m := dialect.Message{}
	if f, ok := o.Need("role"); ok {
		m.Role = role(f)
	}
	readCalls(o, &m)
	f, ok := o.Get("content")
	if !ok && len(m.Calls) == 0 { // who calls need not speak
		f, ok = o.Need("content")
	}
	if ok {
		m.Content = content(f)
	}
	return m
}

func role(v dialect.Value) string {
	switch r := v.String(); r {
	case "system", "user", "assistant", "tool":
		return r
	case "developer": // what OpenAI calls system since its reasoning models
		return "system"
	case "function": // what tools were called once
		v.Unsupported("the role " + r)
	default:
		v.Fail(dialect.CodeInvalidValue, "%s must be system, developer, user, assistant or tool", v.Param())
	}
	return ""
}

// content reads a string or an array of text parts, which are joined by line ends.
func content(v dialect.Value) string {
	switch v.Kind() {
	case dialect.KindString:
		return v.String()
	case dialect.KindArray:
	default:
		v.Fail(dialect.CodeInvalidType, "%s must be a string or an array of parts, not %s", v.Param(), v.Kind())
		return ""
	}
	parts := v.Elements()
	if len(parts) == 0 {
		v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = textPart(part)
	}
	return strings.Join(texts, "\n")
}

func textPart(v dialect.Value) string {
	o := v.Object()
	kind, ok := o.Need("type")
	if !ok {
		return ""
	}
	switch k := kind.String(); k {
	case "text":
	case "image_url", "input_audio", "file", "refusal":
		kind.Unsupported("a part of the type " + k)
	default:
		kind.Fail(dialect.CodeInvalidValue, "%s must be text", kind.Param())
	}
	o.Allow("type", "text")
	text, ok := o.Need("text")
	if !ok {
		return ""
	}
	return text.String()
}
