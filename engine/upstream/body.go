package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// target is what an upstream was when a request was sent to it.
type target struct {
	kind  Kind
	model string
}

// fields is a JSON object that is being written.
type fields map[string]any

// body returns the route and the body by which an upstream is asked for what the
// call wants. Everything that decides over the answer is said, so that no default
// of the upstream's does. What this kind of upstream would not obey is refused.
func (c *Call) body(t target) (path string, body []byte, err *api.Error) {
	r := c.Request
	if err := t.check(r); err != nil {
		return "", nil, err
	}
	if t.passesOn(r) {
		return "/v1/messages", encode(c.messagesBody(t)), nil
	}
	b := fields{
		"model": t.model, "stream": true, "max_tokens": c.Most,
		"temperature": r.Temperature, "top_p": r.TopP,
	}
	options := fields{"include_usage": true}
	b["stream_options"] = options
	if t.kind == VLLM {
		options["continuous_usage_stats"] = true // so that the counts of a request that is given up are true, too
		if c.Salt != "" {
			b["cache_salt"] = digest(c.Salt)
		}
	}
	if t.kind == LlamaCPP {
		b["timings_per_token"] = true // likewise
		b["reasoning_format"] = "none"
	}
	t.sampling(b, r)
	if len(r.Stop) > 0 {
		b["stop"] = r.Stop
	}
	if r.N > 1 {
		b["n"] = r.N
	}
	if f := format(r); f != nil {
		b["response_format"] = f
	}
	if r.Messages != nil {
		b["messages"] = turns(r.Messages)
		putTools(b, r, t.kind)
		if r.Logprobs {
			b["logprobs"], b["top_logprobs"] = true, r.TopLogprobs
		}
		return "/v1/chat/completions", encode(b), nil
	}
	b["prompt"] = r.Prompt
	if r.Tokens != nil {
		b["prompt"] = r.Tokens
	}
	if r.Logprobs {
		b["logprobs"] = r.TopLogprobs
	}
	return "/v1/completions", encode(b), nil
}

// check refuses what this kind of upstream is not known to obey.
func (t target) check(r *dialect.Request) *api.Error {
	refuse := func(param, what string) *api.Error {
		return &api.Error{
			Status: http.StatusBadRequest, Code: dialect.CodeUnsupported, Param: param,
			Message: what + " is not supported by the server that computes the answers; leave it out",
		}
	}
	switch {
	case t.kind == Other && r.TopK != 0 && !(r.TopK == 1 && r.TopP == 1):
		return refuse("top_k", "top_k")
	case t.kind == Other && r.MinP != 0:
		return refuse("min_p", "min_p")
	case t.kind != VLLM && r.Dialect == api.Anthropic && len(r.Stop) > 0 && !t.passesOn(r): // it would not say which one matched
		return refuse("stop_sequences", "stop_sequences")
	case t.kind == LlamaCPP && len(r.Tokens) == 0 && r.Messages == nil && r.Prompt == "":
		return refuse("prompt", "an empty prompt")
	}
	return nil
}

// sampling writes what beside the temperature and top_p decides over the next token.
func (t target) sampling(b fields, r *dialect.Request) {
	b["seed"] = int64(r.Seed)
	b["presence_penalty"], b["frequency_penalty"] = r.PresencePenalty, r.FrequencyPenalty
	if len(r.LogitBias) > 0 {
		bias := fields{}
		for token, by := range r.LogitBias {
			bias[strconv.Itoa(int(token))] = by
		}
		b["logit_bias"] = bias
	}
	switch t.kind {
	case Other:
		if r.TopK == 1 { // top_p 0, which asks for the likeliest
			b["temperature"] = 0
		}
	case VLLM:
		b["top_k"], b["min_p"] = r.TopK, r.MinP
		if r.TopK == 0 {
			b["top_k"] = -1
		}
		b["repetition_penalty"] = 1
	case LlamaCPP:
		b["top_k"], b["min_p"] = r.TopK, r.MinP
		b["seed"] = r.Seed % math.MaxUint32 // the largest stands for a random one
		b["repeat_penalty"] = 1
	case Semantic:
		b["top_k"], b["min_p"] = r.TopK, r.MinP
	}
}

// format returns OpenAI's response_format, or nil for any text.
func format(r *dialect.Request) any {
	switch {
	case !r.Format.JSON:
		return nil
	case r.Format.Schema == nil:
		return fields{"type": "json_object"}
	}
	return fields{"type": "json_schema", "json_schema": fields{
		"name": "answer", "strict": true, "schema": json.RawMessage(r.Format.Schema.Raw()),
	}}
}

// passesOn says whether a request of Anthropic's API goes to the upstream's own. Tools
// are translated, since all upstreams have them in OpenAI's.
func (t target) passesOn(r *dialect.Request) bool {
	if r.Dialect != api.Anthropic || !t.kind.speaksAnthropic() || len(r.Tools) > 0 {
		return false
	}
	return !slices.ContainsFunc(r.Messages, func(m dialect.Message) bool { return len(m.Calls) > 0 || m.CallID != "" })
}

// turns returns a chat as OpenAI's API has it.
func turns(messages []dialect.Message) []fields {
	out := make([]fields, len(messages))
	for i, m := range messages {
		out[i] = fields{"role": m.Role, "content": m.Content}
		if m.CallID != "" {
			out[i]["tool_call_id"] = m.CallID
		}
		var calls []fields
		for _, c := range m.Calls {
			calls = append(calls, fields{"id": c.ID, "type": "function", "function": fields{"name": c.Name, "arguments": c.Arguments}})
		}
		if calls != nil {
			out[i]["tool_calls"] = calls
		}
	}
	return out
}

// putTools puts what an answer may and must call. llama.cpp's server takes no name that
// must be called: it gets that tool alone, and has to call one.
func putTools(b fields, r *dialect.Request, kind Kind) {
	if len(r.Tools) == 0 {
		return
	}
	alone := kind == LlamaCPP && r.ToolUse.Name != ""
	var tools []fields
	for _, t := range r.Tools {
		if alone && t.Name != r.ToolUse.Name {
			continue
		}
		f := fields{"name": t.Name, "description": t.Description}
		if t.Parameters != nil {
			f["parameters"] = json.RawMessage(t.Parameters.Raw())
		}
		tools = append(tools, fields{"type": "function", "function": f})
	}
	b["tools"], b["tool_choice"] = tools, "auto"
	switch {
	case r.ToolUse.Name != "" && !alone:
		b["tool_choice"] = fields{"type": "function", "function": fields{"name": r.ToolUse.Name}}
	case r.ToolUse.Must || alone:
		b["tool_choice"] = "required"
	}
	if r.ToolUse.Once {
		b["parallel_tool_calls"] = false
	}
}

// messagesBody returns the body of Anthropic's API.
func (c *Call) messagesBody(t target) fields {
	r := c.Request
	b := fields{
		"model": t.model, "stream": true, "max_tokens": c.Most,
		"temperature": r.Temperature, "top_p": r.TopP, "top_k": r.TopK,
	}
	putTurns(b, r.Messages)
	if len(r.Stop) > 0 {
		b["stop_sequences"] = r.Stop
	}
	return b
}

// putTurns puts the system's turn where Anthropic's API has it.
func putTurns(b fields, messages []dialect.Message) {
	if len(messages) > 0 && messages[0].Role == "system" {
		b["system"] = messages[0].Content
		messages = messages[1:]
	}
	b["messages"] = turns(messages)
}

// digest keeps names from leaving the pod.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func encode(b fields) []byte {
	body, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings, numbers and JSON that was parsed before
	}
	return body
}
