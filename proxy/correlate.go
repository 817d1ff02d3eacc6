package proxy

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/semantic-pod/semantic/api"
)

// correlate gives the request its ids and the answer its headers. It is the first
// stage, so that every answer has them.
func (p *Proxy) correlate(x *exchange, next handler) {
	if api.ValidRequestID(x.head.requestID) {
		x.id = append(x.id, x.head.requestID...)
	} else {
		x.id = api.AppendRequestID(x.id)
	}
	x.trace.continueFrom(x.head.traceparent)
	x.trace.decide(p.otlp)
	next(x)
	if !x.later {
		p.respond(x)
	}
}

// respond sets what every answer carries. The time of a stream is that of its
// headers; the whole goes into the log. A loop writes these headers as they are; they
// are some twelve of each request, so that fasthttp's list of headers would cost more
// than they do.
func (p *Proxy) respond(x *exchange) {
	took := x.took
	if took == 0 {
		took = time.Since(x.start)
	}
	b := appendHeader(x.told[:0], api.HeaderRequestID, x.id)
	b = append(append(b, api.HeaderResponseTime...), ": "...)
	b = append(appendHundredths(b, took), "ms\r\n"...)
	b = appendStanding(b, &x.decision)
	if x.route == nil || !x.route.probe {
		b = x.appendTiming(b, took)
	}
	x.told = b
	if x.conn.lane == nil {
		x.giveHeaders(x.told)
	}
	if p.health.leaving() { // so that who keeps a connection opens the next one to another pod
		x.ctx.SetConnectionClose()
	}
}

// giveHeaders gives fasthttp the headers, which are whole lines.
func (x *exchange) giveHeaders(lines []byte) {
	for line := range bytes.Lines(lines) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		x.ctx.Response.Header.AddBytesKV(name, bytes.TrimSuffix(value, []byte("\r\n")))
	}
}

// appendHundredths writes milliseconds with two decimals.
func appendHundredths(b []byte, d time.Duration) []byte {
	n := int64((d + 5*time.Microsecond) / (10 * time.Microsecond))
	return append(strconv.AppendInt(b, n/100, 10), '.', byte('0'+n/10%10), byte('0'+n%10))
}

// traceID is a request's place in its trace (W3C Trace Context): the trace that it
// came with or a new one, and our own span in it.
type traceID struct {
	text      [len("00-") + 32 + 1 + 16 + len("-00")]byte // the traceparent for the engine
	parent    [16]byte                                    // the client's span, if its trace goes on
	continued bool                                        // the client's trace goes on
	sampled   bool                                        // its spans are recorded
}

const (
	traceAt, spanAt, flagsAt = 3, 36, 53
)

// continueFrom takes the trace of a valid traceparent, or starts one that is not
// sampled.
func (t *traceID) continueFrom(parent []byte) {
	copy(t.text[:], "00-00000000000000000000000000000000-0000000000000000-00")
	if validTraceparent(parent) {
		t.continued = true
		copy(t.text[traceAt:traceAt+32], parent[traceAt:])
		copy(t.parent[:], parent[spanAt:])
		// Of the flags only "sampled" is known to mean something.
		if strings.IndexByte("13579bdf", parent[flagsAt+1]) >= 0 {
			t.text[flagsAt+1] = '1'
		}
	} else {
		randomHex(t.text[traceAt : traceAt+16])
		randomHex(t.text[traceAt+16 : traceAt+32])
	}
	randomHex(t.text[spanAt : spanAt+16])
}

func (t *traceID) trace() []byte { return t.text[traceAt : traceAt+32] }
func (t *traceID) span() []byte  { return t.text[spanAt : spanAt+16] }

// validTraceparent accepts version 00 and the same first four fields of later
// ones.
func validTraceparent(b []byte) bool {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(b) < length || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return false
	}
	switch version := string(b[:2]); {
	case !lowerHex(b[:2]), version == "ff", version == "00" && len(b) != length:
		return false
	case len(b) > length && b[length] != '-':
		return false
	}
	trace, span := b[traceAt:traceAt+32], b[spanAt:spanAt+16]
	return lowerHex(trace) && lowerHex(span) && lowerHex(b[flagsAt:flagsAt+2]) && !allZero(trace) && !allZero(span)
}

func lowerHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}

// randomHex fills 16 hex digits that are not all zero. They have to be unlikely to
// repeat, not hard to guess.
func randomHex(dst []byte) {
	n := rand.Uint64() | 1
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	hex.Encode(dst, b[:])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// seconds writes a Retry-After: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// text views b as a string, without a copy. It is good for as long as b is left
// alone.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
