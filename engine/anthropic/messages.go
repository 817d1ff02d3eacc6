package anthropic

import (
	"strings"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// messages reads the turns of a chat. Turns of one role that follow each other are
// one turn, as they are for Anthropic.
func messages(v dialect.Value) []dialect.Message {
	values := v.Elements()
	if len(values) == 0 {
		v.Fail(dialect.CodeInvalidValue, "messages must not be empty")
		return nil
	}
	var out []dialect.Message
	var from []dialect.Value
	for _, value := range values {
		for _, m := range turn(value) {
			if last := len(out) - 1; last >= 0 && mergeable(out[last], m) {
				out[last].Content = joined(out[last].Content, m.Content)
				out[last].Calls = m.Calls
				continue
			}
			out, from = append(out, m), append(from, value)
		}
	}
	if v.Err() != nil {
		return nil
	}
	if out[len(out)-1].Role == "assistant" {
		// Anthropic goes on with such a turn; no chat template can leave one open.
		last := values[len(values)-1]
		last.Unsupported(last.Param() + " of the assistant, to be continued,")
	}
	dialect.CheckResults(out, func(i int) dialect.Value { return from[i] })
	return out
}

// mergeable says whether two turns are one.
func mergeable(a, b dialect.Message) bool {
	return a.Role == b.Role && a.Role != "tool" && len(a.Calls) == 0
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

// turn reads one message. The results of tools that a user's message holds are turns of
// their own.
func turn(v dialect.Value) []dialect.Message {
	o := v.Object()
	o.Allow("role", "content")
	m := dialect.Message{}
	if f, ok := o.Need("role"); ok {
		switch m.Role = f.String(); m.Role {
		case "user", "assistant":
		default:
			f.Fail(dialect.CodeInvalidValue, "%s must be user or assistant; a system prompt is given in system", f.Param())
		}
	}
	f, ok := o.Need("content")
	if !ok {
		return []dialect.Message{m}
	}
	if f.Kind() != dialect.KindArray {
		m.Content = texts(f, false)
		return []dialect.Message{m}
	}
	return blocks(f, m)
}

// blocks reads a message's content: text, calls of the assistant's, results of tools.
func blocks(v dialect.Value, m dialect.Message) (out []dialect.Message) {
	for _, block := range v.Elements() {
		switch kindOf(block) {
		case "tool_use":
			m.Calls = append(m.Calls, toolUse(block, m.Role))
		case "tool_result":
			if m.Content != "" {
				block.Fail(dialect.CodeInvalidValue, "%s: results of tools come before text", block.Param())
			}
			out = append(out, toolResult(block, m.Role))
		default:
			if text := textBlock(block); len(m.Calls) > 0 {
				block.Fail(dialect.CodeInvalidValue, "%s: text comes before calls of tools", block.Param())
			} else {
				m.Content = joined(m.Content, text)
			}
		}
	}
	if len(out) == 0 && m.Content == "" && len(m.Calls) == 0 {
		v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
	}
	if len(out) == 0 || m.Content != "" {
		out = append(out, m)
	}
	return out
}

// kindOf returns the type of a block, or "" where it has none.
func kindOf(block dialect.Value) string {
	if block.Kind() == dialect.KindObject {
		if kind, ok := block.Object().Get("type"); ok && kind.Kind() == dialect.KindString {
			return kind.String()
		}
	}
	return ""
}

// texts reads a string or an array of text blocks, which are joined by line ends.
func texts(v dialect.Value, mayBeEmpty bool) string {
	var text string
	switch v.Kind() {
	case dialect.KindString:
		text = v.String()
	case dialect.KindArray:
		var all []string
		for _, block := range v.Elements() {
			all = append(all, textBlock(block))
		}
		text = strings.Join(all, "\n")
	default:
		v.Fail(dialect.CodeInvalidType, "%s must be a string or an array of blocks, not %s", v.Param(), v.Kind())
	}
	if text == "" && !mayBeEmpty {
		v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
	}
	return text
}

func textBlock(v dialect.Value) string {
	o := v.Object()
	kind, ok := o.Need("type")
	if !ok {
		return ""
	}
	switch k := kind.String(); k {
	case "text":
	case "image", "document", "search_result", "thinking", "redacted_thinking",
		"server_tool_use", "web_search_tool_result", "container_upload":
		kind.Unsupported("a block of " + kind.Param() + " " + k)
	default:
		kind.Fail(dialect.CodeInvalidValue, "%s must be text", kind.Param())
	}
	// An answer's block may be sent back as it came, with its empty fields.
	o.Allow("type", "text", "cache_control", "citations")
	if c, ok := o.Get("cache_control"); ok {
		onlyEphemeral(c)
	}
	if c, ok := o.Get("citations"); ok {
		c.Unsupported(c.Param())
	}
	text, ok := o.Need("text")
	if !ok {
		return ""
	}
	s := text.String()
	if s == "" {
		text.Fail(dialect.CodeInvalidValue, "%s must not be empty", text.Param())
	}
	return s
}
