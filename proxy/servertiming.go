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

// tellTiming sets the header with the phases until now. Of a stream that is until its
// first byte: to a client that says TE: trailers, the whole comes as a trailer instead.
func (x *exchange) tellTiming() {
	h := &x.ctx.Response.Header
	if x.timesStream() {
		_ = h.SetTrailer(serverTiming) // which is no forbidden name
		return
	}
	var b [256]byte
	w := x.waterfall(time.Since(x.start))
	w.write = 0 // which has not ended
	h.AddBytesV(serverTiming, w.appendTiming(b[:0]))
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
	x.ctx.Response.Header.SetBytesV(serverTiming, appendPhase(w.appendTiming(b[:0]), "total", took))
}

// appendTiming writes the phases that the request came to.
func (w *waterfall) appendTiming(b []byte) []byte {
	for _, p := range w.phases() {
		if p.took > 0 {
			b = appendPhase(b, strings.TrimSuffix(p.name, "_ms"), p.took)
		}
	}
	return b
}

func appendPhase(b []byte, name string, took time.Duration) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
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
