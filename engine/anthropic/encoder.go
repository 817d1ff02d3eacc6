package anthropic

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// Encoder writes one request's answer, whole or as the events of a stream.
type Encoder struct {
	id, model string
	tools     bool // it may call tools: which block is the first is not known before

	// Of a stream:
	blocks int  // that have ended
	open   bool // one has begun and not ended
}

// NewEncoder returns the encoder of one message.
func NewEncoder(model string, r *dialect.Request) *Encoder {
	var random [12]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	return &Encoder{id: "msg_" + hex.EncodeToString(random[:]), model: model, tools: len(r.Tools) > 0}
}

// Answer appends the whole answer as one JSON object. There is one choice. A call that
// was cut off is left out: its input is no JSON.
func (e *Encoder) Answer(dst []byte, choices []dialect.Choice, _ dialect.Usage) []byte {
	c := choices[0]
	dst = e.message(dst)
	if c.Text != "" {
		dst = append(dst, `{"type":"text","text":`...)
		dst = dialect.AppendString(dst, c.Text)
		dst = append(dst, "},"...)
	}
	for _, call := range dialect.JoinCalls(c.Calls) {
		if call.Complete {
			dst = appendToolUse(dst, call.Name, call.Arguments)
			dst = append(dst, ',')
		}
	}
	dst = append(bytes.TrimSuffix(dst, []byte(",")), `],`...)
	dst = appendStop(dst, c.Ending)
	dst = append(dst, `,"usage":`...)
	dst = appendUsage(dst, c.Usage)
	return append(dst, '}')
}

// appendToolUse appends a call as a block, with a new id.
func appendToolUse(dst []byte, name, input string) []byte {
	var random [12]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	dst = append(dst, `{"type":"tool_use","id":"toolu_`...)
	dst = hex.AppendEncode(dst, random[:])
	dst = append(dst, `","name":`...)
	dst = dialect.AppendString(dst, name)
	dst = append(dst, `,"input":`...)
	dst = append(dst, input...)
	return append(dst, '}')
}

// message appends a message up to its content's first block.
func (e *Encoder) message(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, e.id...)
	dst = append(dst, `","type":"message","role":"assistant","model":`...)
	dst = dialect.AppendString(dst, e.model)
	return append(dst, `,"content":[`...)
}

// Open appends the events that begin a stream.
func (e *Encoder) Open(dst []byte, u dialect.Usage) []byte {
	dst = append(dst, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
	dst = append(e.message(dst), `],"stop_reason":null,"stop_sequence":null,"usage":`...)
	dst = appendUsage(dst, u)
	dst = append(dst, "}}\n\n"...)
	if !e.tools {
		dst = e.begin(dst, textBlockStart)
	}
	return append(dst, "event: ping\ndata: {\"type\":\"ping\"}\n\n"...)
}

const textBlockStart = `{"type":"text","text":""}`

// begin appends the event that begins a block, after the end of the one before it.
func (e *Encoder) begin(dst []byte, block string) []byte {
	dst = e.end(dst)
	e.open = true
	dst = append(dst, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(e.blocks), 10)
	dst = append(dst, `,"content_block":`...)
	dst = append(dst, block...)
	return append(dst, "}\n\n"...)
}

// end appends the event that ends the block that is open, if one is.
func (e *Encoder) end(dst []byte) []byte {
	if !e.open {
		return dst
	}
	dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(e.blocks), 10)
	e.open = false
	e.blocks++
	return append(dst, "}\n\n"...)
}

// Delta appends the events of a piece of text, and of the calls that follow it.
func (e *Encoder) Delta(dst []byte, _ int, p dialect.Part) []byte {
	if p.Text != "" {
		if !e.open {
			dst = e.begin(dst, textBlockStart)
		}
		dst = e.delta(dst, `"text_delta","text":`, p.Text)
	}
	for _, c := range p.Calls {
		if c.Name != "" {
			dst = e.begin(dst, string(appendToolUse(nil, c.Name, "{}")))
		}
		if c.Arguments != "" {
			dst = e.delta(dst, `"input_json_delta","partial_json":`, c.Arguments)
		}
	}
	return dst
}

// delta appends the event of a piece of the block that is open.
func (e *Encoder) delta(dst []byte, kind, text string) []byte {
	dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(e.blocks), 10)
	dst = append(dst, `,"delta":{"type":`...)
	dst = append(dst, kind...)
	dst = dialect.AppendString(dst, text)
	return append(dst, "}}\n\n"...)
}

// End appends the events that say why the answer ended, with its counts.
func (e *Encoder) End(dst []byte, _ int, end dialect.Ending) []byte {
	dst = e.end(dst)
	dst = append(dst, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	dst = appendStop(dst, end)
	dst = append(dst, `},"usage":`...)
	dst = appendUsage(dst, end.Usage)
	return append(dst, "}\n\n"...)
}

// Close appends nothing: End has told the counts.
func (e *Encoder) Close(dst []byte, _ dialect.Usage) []byte { return dst }

// Terminal is the event after which a client knows that the stream is whole.
func (e *Encoder) Terminal() string {
	return "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
}

// appendUsage appends the counts. Anthropic's input_tokens are those that no cache had.
func appendUsage(dst []byte, u dialect.Usage) []byte {
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Prompt-u.Cached), 10)
	dst = append(dst, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Cached), 10)
	dst = append(dst, `,"output_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Completion), 10)
	return append(dst, '}')
}

// appendStop appends why an answer ended.
func appendStop(dst []byte, end dialect.Ending) []byte {
	reason := "end_turn"
	switch {
	case end.Finish == api.FinishLength:
		reason = "max_tokens"
	case end.Finish == api.FinishToolCalls:
		reason = "tool_use"
	case end.Stop != "":
		reason = "stop_sequence"
	}
	dst = append(dst, `"stop_reason":"`...)
	dst = append(dst, reason...)
	dst = append(dst, `","stop_sequence":`...)
	if end.Stop == "" {
		return append(dst, "null"...)
	}
	return dialect.AppendString(dst, end.Stop)
}
