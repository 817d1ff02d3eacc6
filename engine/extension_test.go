package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/model"
)

// TestGrownConversationExtendsItsTokens proves for the default model that the second
// turn's tokens begin with the first turn's prompt and answer, token by token, so that
// an agent that comes back computes nothing twice.
func TestGrownConversationExtendsItsTokens(t *testing.T) {
	e := startDefault(t)
	n := e.current().(*native)
	for i, question := range []string{
		"Write a short poem about the sea.", "¿Qué hora es?", "Write a Go function that adds two numbers.", "  spaces, before and after  ",
	} {
		messages := []dialect.Message{{Role: "user", Content: question}}
		prompt, fault := n.renderChat(messages, nil)
		if fault != nil {
			t.Fatal(fault)
		}
		r := e.post(chatPath, chatBody(question, 32, `,"temperature":0`), as("acme", fmt.Sprint("a", i))...)
		agent := n.heldBy(t, "acme", fmt.Sprint("a", i))
		if len(agent) < len(prompt)/model.BlockTokens*model.BlockTokens {
			t.Fatalf("%q: the agent keeps %d tokens of a prompt of %d", question, len(agent), len(prompt))
		}
		grown, fault := n.renderChat(append(messages, dialect.Message{Role: "assistant", Content: r.text(t)}, dialect.Message{Role: "user", Content: "Go on."}), nil)
		if fault != nil {
			t.Fatal(fault)
		}
		if !slices.Equal(grown[:len(prompt)], prompt) {
			t.Errorf("%q: the grown conversation does not begin with the first prompt", question)
		}
		if !slices.Equal(grown[:len(agent)], agent) {
			t.Errorf("%q: the grown conversation does not begin with what the agent keeps:\nkept  %v\ngrown %v", question, agent, grown[:len(agent)])
		}
	}
}

// heldBy returns the tokens that an agent keeps in memory.
func (n *native) heldBy(t *testing.T, tenant, id string) []int32 {
	t.Helper()
	tokens, err := inquire(t.Context(), n.scheduler, func() []int32 {
		if a := n.scheduler.agents.known[agentName{tenant, id}]; a != nil {
			return a.tokens
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// TestAnswerThatTokenizesDifferentlyKeepsTheCommonPrefix is the odd case: a model may
// spell a word with other tokens than the tokenizer would. Then all up to the first
// different token is kept, and the rest is computed.
func TestAnswerThatTokenizesDifferentlyKeepsTheCommonPrefix(t *testing.T) {
	e := startDefault(t)
	n := e.current().(*native)
	before, err := n.template.Tokens([]chat.Message{{Role: "user", Content: "Count to twenty, please, and say the numbers in words."}}, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		t.Fatal(err)
	}
	text := "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
	usual := slices.Concat(before, n.tokenizer.Encode(text, false))
	odd := slices.Clone(before)
	for _, letter := range text { // letter by letter
		odd = append(odd, n.tokenizer.Encode(string(letter), false)...)
	}
	common := 0
	for common < min(len(usual), len(odd)) && usual[common] == odd[common] {
		common++
	}
	say := func(tokens []int32, headers ...string) reply {
		return e.post(completionPath, fmt.Sprintf(`{"model":"default","prompt":%s,"max_tokens":4,"temperature":0}`, ids(tokens)), headers...)
	}
	want := say(usual).text(t)
	e.flush()
	say(odd, as("default", "odd")...)
	r := say(usual, as("default", "odd")...)
	kept := float64(common / model.BlockTokens * model.BlockTokens)
	if r.text(t) != want || kept == 0 || r.number(t, api.HeaderCachedTokens) != kept {
		t.Errorf("%q with %s tokens cached, want %q with %g of %d", r.text(t), r.outcome(api.HeaderCachedTokens), want, kept, len(usual))
	}
}

func ids(tokens []int32) string {
	out := "["
	for i, token := range tokens {
		if i > 0 {
			out += ","
		}
		out += fmt.Sprint(token)
	}
	return out + "]"
}
