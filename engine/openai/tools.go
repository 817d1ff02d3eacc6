package openai

import "github.com/semantic-pod/semantic/engine/dialect"

// readTools reads the tools that the answer may call, and which of them it must.
func readTools(o dialect.Object, r *dialect.Request) {
	tools, given := o.Get("tools")
	if given {
		r.Tools = tools.Tools(tool)
	}
	if v, ok := o.Get("parallel_tool_calls"); ok {
		if r.ToolUse.Once = !v.Bool(); !given {
			v.Fail(dialect.CodeInvalidValue, "%s is only allowed with tools", v.Param())
		}
	}
	choice, chosen := o.Get("tool_choice")
	if chosen {
		readChoice(choice, r)
	}
	if format, ok := o.Get("response_format"); ok && len(r.Tools) > 0 && r.Format.JSON {
		format.Unsupported("a response_format of JSON together with tools")
	}
}

// tool reads {"type":"function","function":{…}}. Its schema is kept in any case, as
// strict asks for.
func tool(v dialect.Value) (t dialect.Tool) {
	o := v.Object()
	kind, ok := o.Need("type")
	if !ok {
		return t
	}
	switch kind.String() {
	case "function":
	case "custom":
		kind.Unsupported("a tool of the type custom")
	default:
		kind.Fail(dialect.CodeInvalidValue, "%s must be function", kind.Param())
	}
	o.Allow("type", "function")
	v, ok = o.Need("function")
	if !ok {
		return t
	}
	f := v.Object()
	f.Allow("name", "description", "parameters", "strict")
	if name, ok := f.Need("name"); ok {
		t.Name = name.ToolName()
	}
	if text, ok := f.Get("description"); ok {
		t.Description = text.String()
	}
	if strict, ok := f.Get("strict"); ok {
		_ = strict.Bool()
	}
	if p, ok := f.Get("parameters"); ok {
		p.Object()
		t.Parameters = &p
	}
	return t
}

// readChoice reads none, auto, required, or {"type":"function","function":{"name":"…"}}.
func readChoice(v dialect.Value, r *dialect.Request) {
	if v.Kind() == dialect.KindObject {
		o := v.Object()
		kind, ok := o.Need("type")
		switch {
		case !ok:
			return
		case kind.String() == "allowed_tools" || kind.String() == "custom":
			kind.Unsupported("a tool_choice of the type " + kind.String())
			return
		case kind.String() != "function":
			kind.Fail(dialect.CodeInvalidValue, "%s must be function", kind.Param())
			return
		}
		o.Allow("type", "function")
		f, ok := o.Need("function")
		if !ok {
			return
		}
		named := f.Object()
		named.Allow("name")
		if name, ok := named.Need("name"); ok {
			r.ToolUse.Must, r.ToolUse.Name = true, name.ToolName()
		}
		v.NeedTool(r.Tools, r.ToolUse)
		return
	}
	switch v.String() {
	case "none":
		r.Tools = nil
	case "auto":
	case "required":
		r.ToolUse.Must = true
	default:
		v.Fail(dialect.CodeInvalidValue, "%s must be none, auto, required or name a function", v.Param())
	}
	v.NeedTool(r.Tools, r.ToolUse)
}

// readCalls reads what a message has of calls: those that the assistant made, or the one
// that a tool's result answers.
func readCalls(o dialect.Object, m *dialect.Message) {
	id, answers := o.Get("tool_call_id")
	switch {
	case m.Role == "tool":
		if id, ok := o.Need("tool_call_id"); ok {
			m.CallID = callID(id)
		}
	case answers:
		id.Fail(dialect.CodeInvalidValue, "%s is for messages of the role tool", id.Param())
	}
	list, ok := o.Get("tool_calls")
	if !ok {
		return
	}
	for _, v := range list.Elements() {
		if m.Role != "assistant" {
			v.Fail(dialect.CodeInvalidValue, "%s: the assistant alone calls tools", v.Param())
		}
		m.Calls = append(m.Calls, readCall(v))
	}
}

func readCall(v dialect.Value) (c dialect.Call) {
	c.Complete = true
	o := v.Object()
	o.Allow("id", "type", "function", "index")
	if id, ok := o.Need("id"); ok {
		c.ID = callID(id)
	}
	if kind, ok := o.Get("type"); ok && kind.String() != "function" {
		kind.Unsupported("a call of the type " + kind.String())
	}
	v, ok := o.Need("function")
	if !ok {
		return c
	}
	f := v.Object()
	f.Allow("name", "arguments")
	if name, ok := f.Need("name"); ok {
		c.Name = name.ToolName()
	}
	if arguments, ok := f.Need("arguments"); ok {
		c.Arguments = arguments.Arguments()
	}
	return c
}

func callID(v dialect.Value) string {
	id := v.String()
	if id == "" || len(id) > 256 {
		v.Fail(dialect.CodeInvalidValue, "%s must have 1 to 256 bytes", v.Param())
	}
	return id
}
