package proxy

import (
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// outcome is what the engine says of how a request ended: in headers of a whole
// answer, in trailers of a stream.
type outcome struct {
	finish                     api.Finish
	prompt, cached, completion int64
	ttftMS, queueMS            float64
	prefillMS, decodeMS        float64
	seen                       outcomeField
}

// outcomeField is a set of the fields that were given.
type outcomeField uint8

const (
	headerPrompt outcomeField = 1 << iota
	headerCached
	headerCompletion
	headerTTFT
	headerQueue
	headerPrefill
	headerDecode
)

func (o *outcome) known(f outcomeField) bool { return o.seen&f != 0 }

// tokens reports whether tokens were counted.
func (o *outcome) tokens() bool { return o.known(headerPrompt) || o.known(headerCompletion) }

// take keeps the header if it is one of the outcome's, and reports whether it is.
// A value that is none counts as not given.
func (o *outcome) take(name, value []byte) bool {
	if len(name) <= len(internalPrefix) || !is(name[:len(internalPrefix)], internalPrefix) {
		return false
	}
	switch rest := name[len(internalPrefix):]; len(rest) {
	case len("finish"):
		if f, ok := api.ParseFinish(text(value)); ok && is(rest, "finish") {
			o.finish = f
		}
	case len("prompt-tokens"):
		if is(rest, "prompt-tokens") {
			o.count(&o.prompt, headerPrompt, value)
		} else if is(rest, "cached-tokens") {
			o.count(&o.cached, headerCached, value)
		}
	case len("completion-tokens"):
		if is(rest, "completion-tokens") {
			o.count(&o.completion, headerCompletion, value)
		}
	case len("ttft"):
		if is(rest, "ttft") {
			o.time(&o.ttftMS, headerTTFT, value)
		}
	case len("queue-time"):
		if is(rest, "queue-time") {
			o.time(&o.queueMS, headerQueue, value)
		}
	case len("prefill-time"):
		if is(rest, "prefill-time") {
			o.time(&o.prefillMS, headerPrefill, value)
		}
	case len("decode-time"):
		if is(rest, "decode-time") {
			o.time(&o.decodeMS, headerDecode, value)
		}
	}
	return true
}

func (o *outcome) count(to *int64, f outcomeField, value []byte) {
	if n, ok := parseCount(value); ok {
		*to = n
		o.seen |= f
	}
}

// longest is the longest time that is believed.
const longest = float64(24 * time.Hour / time.Millisecond)

func (o *outcome) time(to *float64, f outcomeField, value []byte) {
	if ms, err := strconv.ParseFloat(text(value), 64); err == nil && ms >= 0 && ms <= longest {
		*to = ms
		o.seen |= f
	}
}

// firstToken is the time from the request's arrival at the proxy to its first
// token: the engine's own, and what the proxy took before.
func (x *exchange) firstToken() time.Duration {
	if !x.out.known(headerTTFT) || x.out.completion == 0 {
		return 0
	}
	return x.sent.Sub(x.start) + time.Duration(x.out.ttftMS*float64(time.Millisecond))
}
