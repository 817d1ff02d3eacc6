package anthropic

import "github.com/semantic-pod/semantic/engine/dialect"

// readTools reads the tools that the answer may call, and which of them it must.
func readTools(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Get("tools"); ok {
		r.Tools = v.Tools(tool)
	}
	v, ok := o.Get("tool_choice")
	if !ok {
		return
	}
	choice := v.Object()
	kind, ok := choice.Need("type")
	if !ok {
		return
	}
	allowed := []string{"type", "disable_parallel_tool_use"}
	switch kind.String() {
	case "auto":
	case "any":
		r.ToolUse.Must = true
	case "tool":
		allowed = append(allowed, "name")
		if name, ok := choice.Need("name"); ok {
			r.ToolUse.Must, r.ToolUse.Name = true, name.ToolName()
		}
	case "none":
		allowed = allowed[:1]
		r.Tools = nil
	default:
		kind.Fail(dialect.CodeInvalidValue, "%s must be auto, any, tool or none", kind.Param())
	}
	choice.Allow(allowed...)
	if once, ok := choice.Get("disable_parallel_tool_use"); ok {
		r.ToolUse.Once = once.Bool()
	}
	v.NeedTool(r.Tools, r.ToolUse)
}

// tool reads a tool of the client's own. Its schema is kept in any case, as strict asks
// for. Those that Anthropic runs itself are not to be had here.
func tool(v dialect.Value) (t dialect.Tool) {
	o := v.Object()
	if kind, ok := o.Get("type"); ok && kind.String() != "custom" {
		kind.Unsupported("a tool of the type " + kind.String())
		return t
	}
	o.Allow("type", "name", "description", "input_schema", "cache_control", "strict")
	if name, ok := o.Need("name"); ok {
		t.Name = name.ToolName()
	}
	if text, ok := o.Get("description"); ok {
		t.Description = text.String()
	}
	if c, ok := o.Get("cache_control"); ok {
		onlyEphemeral(c)
	}
	if strict, ok := o.Get("strict"); ok {
		_ = strict.Bool()
	}
	if s, ok := o.Need("input_schema"); ok {
		s.Object()
		t.Parameters = &s
	}
	return t
}

// toolUse reads an earlier call.
func toolUse(v dialect.Value, role string) (c dialect.Call) {
	if role != "assistant" {
		v.Fail(dialect.CodeInvalidValue, "%s: the assistant alone calls tools", v.Param())
	}
	c.Complete = true
	o := v.Object()
	o.Allow("type", "id", "name", "input", "cache_control", "caller")
	if f, ok := o.Get("cache_control"); ok {
		onlyEphemeral(f)
	}
	if f, ok := o.Get("caller"); ok {
		if kind, ok := f.Object().Need("type"); ok && kind.String() != "direct" {
			f.Unsupported(f.Param())
		}
	}
	if id, ok := o.Need("id"); ok {
		c.ID = callID(id)
	}
	if name, ok := o.Need("name"); ok {
		c.Name = name.ToolName()
	}
	if input, ok := o.Need("input"); ok {
		c.Arguments = input.CompactObject()
	}
	return c
}

// toolResult reads what a tool gave: text, or nothing. Of an error the model is told
// that it is one.
func toolResult(v dialect.Value, role string) dialect.Message {
	m := dialect.Message{Role: "tool"}
	if role != "user" {
		v.Fail(dialect.CodeInvalidValue, "%s: results of tools come from the user", v.Param())
	}
	o := v.Object()
	o.Allow("type", "tool_use_id", "content", "is_error", "cache_control")
	if f, ok := o.Get("cache_control"); ok {
		onlyEphemeral(f)
	}
	if id, ok := o.Need("tool_use_id"); ok {
		m.CallID = callID(id)
	}
	if f, ok := o.Get("content"); ok {
		m.Content = texts(f, true)
	}
	if f, ok := o.Get("is_error"); ok && f.Bool() {
		m.Content = "Error: " + m.Content
	}
	return m
}

func callID(v dialect.Value) string {
	id := v.String()
	if id == "" || len(id) > 256 {
		v.Fail(dialect.CodeInvalidValue, "%s must have 1 to 256 bytes", v.Param())
	}
	return id
}
