package upstream

import (
	"encoding/json"
	"fmt"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// messagesEvent is an event of Anthropic's streams.
type messagesEvent struct {
	Type    string `json:"type"`
	Message struct {
		Usage messagesUsage `json:"usage"`
	} `json:"message"`
	Delta struct {
		Type         string  `json:"type"`
		Text         string  `json:"text"`
		StopReason   string  `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	} `json:"delta"`
	Usage *messagesUsage `json:"usage"`
}

// messagesUsage counts a prompt's tokens in three parts.
type messagesUsage struct {
	Input   int `json:"input_tokens"`
	Written int `json:"cache_creation_input_tokens"`
	Read    int `json:"cache_read_input_tokens"`
	Output  int `json:"output_tokens"`
}

// message takes one event of Anthropic's streams. It says whether it was the
// terminal one.
func (a *answer) message(_ target, data []byte) (bool, error) {
	var e messagesEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("an event is no JSON of its API: %w", err)
	}
	switch e.Type {
	case "error":
		return false, &toldError{readError(data)}
	case "message_start":
		u := e.Message.Usage
		a.usage = dialect.Usage{Prompt: u.Input + u.Written + u.Read, Cached: u.Read}
	case "content_block_delta":
		if e.Delta.Type == "text_delta" {
			return false, a.pass(0, dialect.Part{Text: e.Delta.Text})
		}
	case "message_delta":
		if e.Usage != nil {
			a.usage.Completion, a.told = e.Usage.Output, true
		}
		if e.Delta.StopReason == "" {
			return false, nil
		}
		stop := ""
		if e.Delta.StopSequence != nil {
			stop = *e.Delta.StopSequence
		}
		return false, a.end(0, e.Delta.StopReason, stop)
	case "message_stop":
		return true, a.complete()
	}
	return false, nil // ping, a block's start and end, and what is new in the API
}
