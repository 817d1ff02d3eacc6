package proxy

import (
	"bytes"

	"github.com/semantic-pod/semantic/api"
)

// maxHeldEvent is the longest event that is held until it is whole. A longer one
// goes out in pieces.
const maxHeldEvent = 256 << 10

// events cuts a stream of server-sent events into whole ones, however the bytes
// were cut on their way. Only whole events are let go, so that an error event can
// follow at any time, and the terminal one is held back until the stream's end is
// known to be true.
type events struct {
	dialect api.Dialect

	buf   []byte
	sent  int // buf[:sent] was taken by the client
	ready int // buf[sent:ready] may go to the client
	line  int // where the line that is being received starts
	seen  int // up to where line ends were looked for

	terminal    bool // the terminal event has come, at ready
	terminalEnd int
	failed      bool // an error event has gone by
	content     bool // an event with content has gone by
	whole       int  // events that have gone by
	torn        bool // a part of an event that was too long is out, its end is not
	skipLine    bool // the line's start is out
	garbled     bool // the terminal event never ends

	// What the event that is being received is.
	isTerminal, isError, isContent bool
}

// add takes bytes of the stream.
func (e *events) add(p []byte) {
	if e.terminal || e.garbled {
		return // nothing follows a terminal event
	}
	e.buf = append(e.buf, p...)
	for {
		i := bytes.IndexByte(e.buf[e.seen:], '\n')
		if i < 0 {
			e.seen = len(e.buf)
			break
		}
		end := e.seen + i + 1
		e.takeLine(bytes.TrimSuffix(e.buf[e.line:end-1], []byte("\r")), end)
		e.line, e.seen = end, end
		if e.terminal {
			return
		}
	}
	if len(e.buf)-e.ready > maxHeldEvent {
		e.letGo()
	}
}

// letGo passes on the start of an event that is too long to be held.
func (e *events) letGo() {
	if e.isTerminal {
		e.garbled = true
		return
	}
	e.skipLine = e.skipLine || e.line < len(e.buf)
	e.torn = true
	e.ready = len(e.buf)
}

// takeLine looks at a whole line; end is where the next one starts.
func (e *events) takeLine(line []byte, end int) {
	switch {
	case e.skipLine:
		e.skipLine = false
	case len(line) == 0:
		e.endEvent(end)
	case line[0] == ':' && e.ready == e.line:
		e.ready = end // a comment between events belongs to none
	default:
		e.classify(line)
	}
}

// endEvent lets a whole event go, unless it is the terminal one.
func (e *events) endEvent(end int) {
	if e.isTerminal {
		e.terminal, e.terminalEnd = true, end
		return
	}
	e.whole++
	e.failed = e.failed || e.isError
	e.content = e.content || e.isContent
	e.isError, e.isContent, e.torn = false, false, false
	e.ready = end
}

func (e *events) classify(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	if e.dialect == api.Anthropic {
		e.classifyAnthropic(name, value)
		return
	}
	if string(name) != "data" {
		return
	}
	switch {
	case string(value) == "[DONE]":
		e.isTerminal = true
	case bytes.HasPrefix(value, []byte(`{"error"`)):
		e.isError = true
	case !e.content:
		e.isContent = hasContent(value)
	}
}

func (e *events) classifyAnthropic(name, value []byte) {
	switch string(name) {
	case "event":
		switch string(value) {
		case "message_stop":
			e.isTerminal = true
		case "error":
			e.isError = true
		case "content_block_delta":
			e.isContent = true
		}
	case "data":
		if bytes.HasPrefix(value, []byte(`{"type":"message_stop"`)) {
			e.isTerminal = true
		}
	}
}

// contentFields are the members of an OpenAI chunk that carry what the model made.
var contentFields = [][]byte{
	[]byte(`"content":`), []byte(`"text":`), []byte(`"reasoning_content":`), []byte(`"tool_calls":`), []byte(`"refusal":`),
}

// hasContent tells a chunk that carries something from the opening one, whose
// content is empty or null.
func hasContent(chunk []byte) bool {
	for _, field := range contentFields {
		for rest := chunk; ; {
			i := bytes.Index(rest, field)
			if i < 0 {
				break
			}
			rest = bytes.TrimLeft(rest[i+len(field):], " ")
			if !bytes.HasPrefix(rest, []byte(`""`)) && !bytes.HasPrefix(rest, []byte(`null`)) && !bytes.HasPrefix(rest, []byte(`[]`)) {
				return true
			}
		}
	}
	return false
}

// pending is what may go to the client now.
func (e *events) pending() []byte { return e.buf[e.sent:e.ready] }

// passed says that the client took what was pending.
func (e *events) passed() {
	e.sent = e.ready
	if e.sent < len(e.buf) {
		if e.sent < len(e.buf)/2 {
			return
		}
		n := copy(e.buf, e.buf[e.sent:])
		e.buf = e.buf[:n]
	} else {
		e.buf = e.buf[:0]
	}
	e.line, e.seen = e.line-e.sent, e.seen-e.sent
	e.terminalEnd -= e.sent
	e.sent, e.ready = 0, 0
	e.line = max(e.line, 0)
}

// last is the terminal event, which was held back.
func (e *events) last() []byte { return e.buf[e.ready:e.terminalEnd] }

// recycled is an empty one with the same buffer.
func (e *events) recycled() events {
	return events{buf: recycled(e.buf)}
}
