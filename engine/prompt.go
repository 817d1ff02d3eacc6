package engine

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/model"
)

// prompt returns the tokens that the model is to read, and the field of the body
// that they come from.
func (n *native) prompt(r *dialect.Request) (tokens []int32, param string, err *api.Error) {
	switch {
	case r.Messages != nil:
		tokens, err = n.renderChat(r.Messages, r.Tools)
		return tokens, "messages", err
	case r.Tokens != nil:
		return r.Tokens, "prompt", n.checkTokens(r.Tokens)
	}
	// The whole prompt is the client's own, so that special tokens in it are meant.
	tokens = n.tokenizer.Encode(r.Prompt, true)
	if n.tokenizer.AddBOS() {
		tokens = append([]int32{n.tokenizer.BOS()}, tokens...)
	}
	return tokens, "prompt", nil
}

func (n *native) renderChat(messages []dialect.Message, tools []dialect.Tool) ([]int32, *api.Error) {
	if n.template == nil {
		return nil, badMessages("the model's file has no chat template; use /v1/completions")
	}
	turns := make([]chat.Message, len(messages))
	for i, m := range messages {
		turns[i] = chat.Message{Role: m.Role, Content: m.Content, CallID: m.CallID, Tool: m.Tool}
		for _, c := range m.Calls {
			turns[i].Calls = append(turns[i].Calls, chat.Call{ID: c.ID, Name: c.Name, Arguments: c.Arguments})
		}
	}
	o := chat.Options{AddGenerationPrompt: true}
	for _, t := range tools {
		shown := chat.Tool{Name: t.Name, Description: t.Description}
		if t.Parameters != nil {
			shown.Parameters = string(t.Parameters.Raw())
		}
		o.Tools = append(o.Tools, shown)
	}
	tokens, err := n.template.Tokens(turns, o)
	var refusal *chat.Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, badMessages("the model's chat template refuses these messages: " + refusal.Message)
	case err != nil:
		return nil, &api.Error{
			Status: http.StatusInternalServerError, Code: "chat_template_failed",
			Message: "the model's chat template failed: " + err.Error(),
		}
	}
	return tokens, nil
}

func badMessages(message string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: dialect.CodeInvalidValue, Param: "messages", Message: message}
}

func (n *native) checkTokens(tokens []int32) *api.Error {
	for i, t := range tokens {
		if int(t) >= n.words {
			return &api.Error{
				Status: http.StatusBadRequest, Code: dialect.CodeInvalidValue, Param: fmt.Sprintf("prompt[%d]", i),
				Message: fmt.Sprintf("prompt[%d] is %d, but the model's %d tokens are numbered from 0", i, t, n.words),
			}
		}
	}
	return nil
}

// length returns how many tokens the answer to a prompt may have, or says why the
// request cannot be served.
func (n *native) length(a admission, prompt int, param string) (int, *api.Error) {
	room, limit, knob := n.context, "the model's context length", ""
	if held := n.scheduler.blocks.Total() * model.BlockTokens; held < room {
		room, limit, knob = held, "the room of the KV pool", " (--kv-memory)"
	}
	tooLong := func(param, format string, args ...any) (int, *api.Error) {
		return 0, &api.Error{
			Status: http.StatusBadRequest, Code: "context_length_exceeded", Param: param,
			Message: fmt.Sprintf("%s is %d tokens%s, but ", limit, room, knob) + fmt.Sprintf(format, args...),
		}
	}
	most := a.MaxTokens
	switch {
	case prompt >= room:
		return tooLong(param, "the prompt has %d, and the answer needs one at least", prompt)
	case prompt+most > room:
		return tooLong(a.MaxTokensParam, "%d were asked for: %d in the prompt and %d in the answer", prompt+most, prompt, most)
	case most == 0:
		most = min(n.defaultMost, room-prompt)
	}
	if a.allowance >= 0 {
		most = min(most, a.allowance/max(1, a.N))
	}
	return most, nil
}
