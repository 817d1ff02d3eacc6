package upstream

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// errUnwanted is of an answer that nobody reads any more.
var errUnwanted = errors.New("nobody wants the answer")

// answer is what an upstream has said so far.
type answer struct {
	call  *Call
	begun bool             // some of it was passed on
	usage dialect.Usage    // of all choices, so far
	ends  []dialect.Ending // by choice
	over  []bool           // by choice: it has its end
	calls []int            // by choice: calls of tools that were begun
	told  bool             // usage is what the upstream counted; else one token a piece
}

func newAnswer(c *Call) *answer {
	n := max(1, c.Request.N)
	return &answer{call: c, ends: make([]dialect.Ending, n), over: make([]bool, n), calls: make([]int, n)}
}

// chunk is an event of OpenAI's streams, with what vLLM and llama.cpp add.
type chunk struct {
	Choices []struct {
		Index        int             `json:"index"`
		Text         string          `json:"text"`
		Delta        delta           `json:"delta"`
		Logprobs     json.RawMessage `json:"logprobs"`
		FinishReason *string         `json:"finish_reason"`
		StopReason   json.RawMessage `json:"stop_reason"` // vLLM: the stop string that matched, or a token's id
	} `json:"choices"`
	Usage   *usage          `json:"usage"`
	Timings *timings        `json:"timings"`
	Error   json.RawMessage `json:"error"`
}

type delta struct {
	Content   string     `json:"content"`
	Refusal   string     `json:"refusal"`
	ToolCalls []toolCall `json:"tool_calls"`
}

type toolCall struct {
	Index    int `json:"index"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Details    *struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// timings are llama.cpp's counts of one choice.
type timings struct {
	Cached    int `json:"cache_n"`
	Prompt    int `json:"prompt_n"` // without the cached ones
	Predicted int `json:"predicted_n"`
}

// chunk takes one event. It says whether it was the terminal one.
func (a *answer) chunk(t target, data []byte) (bool, error) {
	if string(data) == "[DONE]" {
		return true, a.complete()
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return false, fmt.Errorf("an event is no JSON of its API: %w", err)
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return false, &toldError{readError(data)}
	}
	a.count(t, &c)
	for _, choice := range c.Choices {
		if choice.Index < 0 || choice.Index >= len(a.ends) {
			return false, fmt.Errorf("choice %d was not asked for", choice.Index)
		}
		tokens, err := readLogprobs(choice.Logprobs)
		if err != nil {
			return false, err
		}
		part := dialect.Part{Text: choice.Text + choice.Delta.Content + choice.Delta.Refusal, Tokens: tokens}
		if part.Calls, err = a.callDeltas(choice.Index, choice.Delta.ToolCalls); err != nil {
			return false, err
		}
		if choice.FinishReason != nil && *choice.FinishReason != "" {
			part.Calls = append(part.Calls, a.closeCall(choice.Index)...)
		}
		if err := a.pass(choice.Index, part); err != nil {
			return false, err
		}
		if choice.FinishReason == nil || *choice.FinishReason == "" {
			continue
		}
		var stop string
		_ = json.Unmarshal(choice.StopReason, &stop) // a number names a token
		if err := a.end(choice.Index, *choice.FinishReason, stop); err != nil {
			return false, err
		}
	}
	return false, nil
}

// pass gives a piece on.
func (a *answer) pass(choice int, p dialect.Part) error {
	if p.Empty() {
		return nil
	}
	if a.over[choice] {
		return fmt.Errorf("choice %d goes on after its end", choice)
	}
	if !a.told {
		a.usage.Completion += max(1, len(p.Tokens))
	}
	if !a.call.Request.Logprobs {
		p.Tokens = nil
	}
	a.begun = true
	if !a.call.Piece(choice, p, a.usage) {
		return errUnwanted
	}
	return nil
}

// end notes why a choice ended. A reason that is none of a good end's is a fault.
func (a *answer) end(choice int, reason, stop string) error {
	finish, good := map[string]api.Finish{
		"stop": api.FinishStop, "end_turn": api.FinishStop, "stop_sequence": api.FinishStop, "content_filter": api.FinishStop,
		"length": api.FinishLength, "max_tokens": api.FinishLength,
		"tool_calls": api.FinishToolCalls, "tool_use": api.FinishToolCalls,
	}[reason]
	if !good {
		return fmt.Errorf("it ended with the reason %.40q", reason)
	}
	a.ends[choice], a.over[choice] = dialect.Ending{Finish: finish, Stop: stop}, true
	return nil
}

// complete checks at the terminal event that every choice has its end, and gives
// the counts, which upstreams tell of all choices together, to the first one.
func (a *answer) complete() error {
	for i, over := range a.over {
		if !over {
			return fmt.Errorf("choice %d has no end", i)
		}
	}
	a.ends[0].Usage = a.usage
	for i := range a.ends[1:] {
		a.ends[i+1].Usage = dialect.Usage{Prompt: a.usage.Prompt, Cached: a.usage.Cached}
	}
	return nil
}

// count takes what an event says about tokens. While several choices run, upstreams
// tell of one of them; only what comes at the end is of all.
func (a *answer) count(t target, c *chunk) {
	several := len(a.ends) > 1
	switch {
	case c.Usage != nil && several && t.kind == LlamaCPP && len(c.Choices) == 0: // one for each choice
		if !a.told {
			a.usage, a.told = dialect.Usage{}, true
		}
		a.usage.Completion += c.Usage.Completion
		a.usage.Prompt, a.usage.Cached = c.Usage.Prompt, c.Usage.cached()
	case c.Usage != nil && (!several || len(c.Choices) == 0):
		a.usage = dialect.Usage{Prompt: c.Usage.Prompt, Cached: c.Usage.cached(), Completion: c.Usage.Completion}
		a.told = true
	case c.Timings != nil && !several:
		a.usage = dialect.Usage{Prompt: c.Timings.Prompt + c.Timings.Cached, Cached: c.Timings.Cached, Completion: c.Timings.Predicted}
		a.told = true
	}
}

func (u *usage) cached() int {
	if u.Details == nil {
		return 0
	}
	return u.Details.Cached
}

// callDeltas reads pieces of calls, which come one call after the other.
func (a *answer) callDeltas(choice int, pieces []toolCall) ([]dialect.CallDelta, error) {
	var out []dialect.CallDelta
	for _, p := range pieces {
		switch {
		case p.Index == a.calls[choice]: // the next one begins, and the one before is complete
			if p.Function.Name == "" {
				return nil, fmt.Errorf("call %d has no name", p.Index)
			}
			out = append(out, a.closeCall(choice)...)
			a.calls[choice]++
		case p.Index != a.calls[choice]-1:
			return nil, fmt.Errorf("call %d comes after %d calls", p.Index, a.calls[choice])
		default:
			p.Function.Name = "" // which some repeat
		}
		out = append(out, dialect.CallDelta{Index: p.Index, Name: p.Function.Name, Arguments: p.Function.Arguments})
	}
	return out, nil
}

// closeCall completes the call that was begun last, if there is one.
func (a *answer) closeCall(choice int) []dialect.CallDelta {
	if a.calls[choice] == 0 {
		return nil
	}
	return []dialect.CallDelta{{Index: a.calls[choice] - 1, Complete: true}}
}
