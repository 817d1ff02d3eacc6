// Package chat renders a conversation into a model's prompt by the chat template of the model's
// own file, so that no message can contain a special token.
//
// A template is Jinja and is rendered by gonja. It comes from a file that somebody else made: it
// may read no file, run no longer than a deadline, loop and recurse no more than a budget, and
// write no more than a few times what it was given. The memory of its own expressions ('x' * n)
// is not bounded.
//
// Special tokens are kept apart from text by construction. Before the template is compiled, each
// special token that its source spells out is replaced by one private code point; the same code
// points stand for bos_token and eos_token. Messages are rendered as they are, so templates that
// trim, split or compare them work; only private code points in them are escaped. In the rendered
// text the private code points are the special tokens, and all else is text, whatever it looks
// like. Templates that put special tokens together from parts ('<|' + role + '|>') are told apart
// from messages that look alike by rendering once more with the messages blanked out (compose.go).
//
// Read: chat.go (a conversation becomes tokens), source.go (what template the file has), markers.go
// (private code points), sandbox.go and budget.go (what a template may do), compose.go, functions.go,
// strings.go and tojson.go (what transformers and Python give to templates), tools.go (tools, and our own
// prompt for templates that know nothing of them).
package chat

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nikolalohinski/gonja/v2/exec"

	"github.com/semantic-pod/semantic/engine/tokenizer"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // one of Roles
	Content string
	Calls   []Call // that the assistant made
	CallID  string // of a tool's result: the call that it answers
	Tool    string // of a tool's result: the tool that was called
}

// Roles are the roles that a message may have. A role is no text: templates build special tokens
// from it.
var Roles = []string{"system", "developer", "user", "assistant", "tool"}

// ofTools says whether a message calls a tool or answers a call.
func (m Message) ofTools() bool { return m.CallID != "" || len(m.Calls) > 0 }

// Options say how to begin and to end the prompt.
type Options struct {
	AddGenerationPrompt bool   // end with the beginning of the assistant's turn
	Tools               []Tool // that the model may call
}

// Template is a model's chat template. It may be used from many goroutines at once.
type Template struct {
	tokenizer *tokenizer.Tokenizer
	compiled  *exec.Template
	markers   []int32 // the special token of each private code point
	bos, eos  string
	now       func() time.Time

	tried sync.Once
	form  *CallForm // of its branch for tools; nil if it has none that we can read
}

// Refusal is an error by which the template itself refuses a conversation, such as one whose
// roles do not alternate.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return "it refuses the conversation: " + r.Message }

// Tokens returns the prompt's tokens, with BOS if the model wants one.
func (t *Template) Tokens(messages []Message, o Options) ([]int32, error) {
	segments, err := t.Render(messages, o)
	if err != nil {
		return nil, err
	}
	ids := t.tokenizer.EncodeSegments(segments)
	if t.tokenizer.AddBOS() && (len(ids) == 0 || ids[0] != t.tokenizer.BOS()) {
		ids = slices.Insert(ids, 0, t.tokenizer.BOS())
	}
	return ids, nil
}

// Render returns the prompt as text. The trusted segments are the template's special tokens.
func (t *Template) Render(messages []Message, o Options) ([]tokenizer.Segment, error) {
	for i, m := range messages {
		if !slices.Contains(Roles, m.Role) {
			return nil, fmt.Errorf("cannot render messages[%d]: role %q is not one of %s", i, m.Role, strings.Join(Roles, ", "))
		}
	}
	if len(o.Tools) > 0 || slices.ContainsFunc(messages, Message.ofTools) {
		switch form := t.toolForm(); {
		case form == nil:
			messages, o.Tools = explain(messages, o.Tools), nil
		case form.Between == "":
			messages = oneByOne(messages)
		}
	}
	text, err := t.execute(messages, o, escape)
	if err != nil {
		return nil, err
	}
	segments := t.split(text)
	if t.lookAlike(segments) {
		return t.compose(messages, o, segments)
	}
	return segments, nil
}

// execute renders the conversation with every content written by write.
func (t *Template) execute(messages []Message, o Options, write func(string) string) (string, error) {
	list := make(sequence, len(messages))
	size := 0
	counted := func(s string) string {
		s = write(s)
		size += len(s)
		return s
	}
	for i, m := range messages {
		content := counted(m.Content)
		turn := map[string]any{"role": m.Role, "content": content}
		if len(m.Calls) > 0 {
			turn["tool_calls"] = templateCalls(m.Calls, counted)
		}
		if m.Role == "tool" {
			turn["tool_call_id"], turn["name"] = counted(m.CallID), counted(m.Tool)
		}
		list[i] = turn
	}
	tools := templateTools(o.Tools, counted)
	return t.run(map[string]any{
		"messages":              list,
		"add_generation_prompt": o.AddGenerationPrompt,
		"bos_token":             t.bos,
		"eos_token":             t.eos,
		"tools":                 tools,
		"documents":             nil,
	}, size)
}
