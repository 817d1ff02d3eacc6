package proxy

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// serverTiming is the header, and the trailer, that tells a client where its request's
// time went (W3C Server Timing).
const serverTiming = "Server-Timing"

// appendTiming writes the header with the phases until now, when the request has taken
// so long. Of a stream that is until its first byte: to a client that says TE: trailers,
// the whole comes as a trailer instead.
func (x *exchange) appendTiming(b []byte, took time.Duration) []byte {
	if x.timesStream() {
		_ = x.ctx.Response.Header.SetTrailer(serverTiming) // which is no forbidden name
		return b
	}
	w := x.fall
	if x.took == 0 {
		w = x.waterfall(took)
	}
	w.write = 0 // which has not ended
	return append(w.appendTiming(append(b, serverTiming+": "...)), "\r\n"...)
}

// timesStream says whether the times of a stream come after it.
func (x *exchange) timesStream() bool { return x.streaming && listed(x.head.te, "trailers") }

// tellStreamTiming sets the trailer with the whole of a stream that is over.
func (x *exchange) tellStreamTiming() {
	if !x.timesStream() {
		return
	}
	var b [256]byte
	took := time.Since(x.start)
	w := x.waterfall(took)
	phases := w.appendTiming(b[:0])
	if len(phases) > 0 {
		phases = append(phases, ", "...)
	}
	x.ctx.Response.Header.SetBytesV(serverTiming, appendPhase(phases, "total", took))
}

// appendTiming writes the phases that the request came to.
func (w *waterfall) appendTiming(b []byte) []byte {
	start := len(b)
	for _, p := range w.phases() {
		if p.took > 0 {
			if len(b) > start {
				b = append(b, ", "...)
			}
			b = appendPhase(b, strings.TrimSuffix(p.name, "_ms"), p.took)
		}
	}
	return b
}

func appendPhase(b []byte, name string, took time.Duration) []byte {
	us := took.Microseconds()
	b = append(append(b, name...), ";dur="...)
	b = append(strconv.AppendInt(b, us/1000, 10), '.')
	return append(b, byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10))
}

// listed says whether a header's list has a token, without parameters.
func listed(list []byte, token string) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		if is(bytes.TrimSpace(one), token) {
			return true
		}
	}
	return false
}
