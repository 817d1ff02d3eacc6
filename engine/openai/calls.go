package openai

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// appendSaid appends the content and the calls of a whole answer. One that only calls
// has no content.
func (e *Encoder) appendSaid(dst []byte, choice int, p dialect.Part) []byte {
	calls := dialect.JoinCalls(p.Calls)
	if p.Text == "" && len(calls) > 0 {
		dst = append(dst, "null"...)
	} else {
		dst = dialect.AppendString(dst, p.Text)
	}
	if len(calls) == 0 {
		return dst
	}
	dst = append(dst, `,"tool_calls":[`...)
	for i, c := range calls {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":"`...)
		dst = append(dst, e.callID(choice, i)...)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = dialect.AppendString(dst, c.Name)
		dst = append(dst, `,"arguments":`...)
		dst = append(dialect.AppendString(dst, c.Arguments), "}}"...)
	}
	return append(dst, ']')
}

// callDelta appends the event of a piece of a call: first who is called, then the
// arguments.
func (e *Encoder) callDelta(dst []byte, choice int, c dialect.CallDelta) []byte {
	dst = appendIndex(append(dst, e.chunk...), choice)
	dst = append(dst, `,"delta":{"tool_calls":[{"index":`...)
	dst = strconv.AppendInt(dst, int64(c.Index), 10)
	if c.Name != "" {
		dst = append(dst, `,"id":"`...)
		dst = append(dst, e.callID(choice, c.Index)...)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = dialect.AppendString(dst, c.Name)
		dst = append(dst, `,"arguments":`...)
	} else {
		dst = append(dst, `,"function":{"arguments":`...)
	}
	dst = dialect.AppendString(dst, c.Arguments)
	dst = append(dst, `}}]},"logprobs":null,"finish_reason":null}`...)
	return append(dst, e.suffix...)
}

// callID returns the id of a call, made when it is asked for first.
func (e *Encoder) callID(choice, call int) string {
	for len(e.ids) <= choice {
		e.ids = append(e.ids, nil)
	}
	for len(e.ids[choice]) <= call {
		var random [12]byte
		rand.Read(random[:]) // never fails: crypto/rand ends the program instead
		e.ids[choice] = append(e.ids[choice], "call_"+hex.EncodeToString(random[:]))
	}
	return e.ids[choice][call]
}
