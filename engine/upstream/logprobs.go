package upstream

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// logprobs are in the form of chats, which llama.cpp has for completions too, or in
// that of completions.
type logprobs struct {
	Content []logprob `json:"content"`

	Tokens        []string             `json:"tokens"`
	TokenLogprobs []*float64           `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
}

type logprob struct {
	Token   string    `json:"token"`
	Bytes   []byteInt `json:"bytes"`
	Logprob float64   `json:"logprob"`
	Top     []logprob `json:"top_logprobs"`
}

// byteInt is a byte that is written as a number.
type byteInt uint16

func readLogprobs(raw json.RawMessage) ([]dialect.Token, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var l logprobs
	if err := json.Unmarshal(raw, &l); err != nil {
		return nil, fmt.Errorf("log-probabilities cannot be read: %w", err)
	}
	if len(l.Content) > 0 {
		return chatTokens(l.Content), nil
	}
	if len(l.TokenLogprobs) != len(l.Tokens) {
		return nil, fmt.Errorf("%d tokens come with %d log-probabilities", len(l.Tokens), len(l.TokenLogprobs))
	}
	out := make([]dialect.Token, len(l.Tokens))
	for i, text := range l.Tokens {
		out[i].Bytes = []byte(text)
		if p := l.TokenLogprobs[i]; p != nil {
			out[i].Logprob = *p
		}
		if i < len(l.TopLogprobs) {
			for other, p := range l.TopLogprobs[i] {
				out[i].Top = append(out[i].Top, dialect.Token{Bytes: []byte(other), Logprob: p})
			}
			sort.Slice(out[i].Top, func(j, k int) bool { return out[i].Top[j].Logprob > out[i].Top[k].Logprob })
		}
	}
	return out, nil
}

func chatTokens(list []logprob) []dialect.Token {
	out := make([]dialect.Token, len(list))
	for i, l := range list {
		out[i] = dialect.Token{Bytes: []byte(l.Token), Logprob: l.Logprob}
		if l.Bytes != nil {
			out[i].Bytes = make([]byte, len(l.Bytes))
			for j, b := range l.Bytes {
				out[i].Bytes[j] = byte(b)
			}
		}
		if len(l.Top) > 0 {
			out[i].Top = chatTokens(l.Top)
		}
	}
	return out
}
