// Package api holds the words that the processes of a pod share: the routes and
// headers on the socket between proxy and engine, the finish classes, the error
// shapes of both dialects, request ids, and the engine's state.
//
// It imports nothing of ours, so that proxy, engine and sidecar may all import it.
package api

import "slices"

// Finish is how a request ended. Every request ends in exactly one class, the
// same word in the log line, the metric and the span.
type Finish string

// The finish classes.
const (
	FinishOK         Finish = "ok"          // a good answer that is no generation
	FinishStop       Finish = "stop"        // the model ended its turn, or a stop string matched
	FinishLength     Finish = "length"      // max_tokens, the context or a token allowance was used up
	FinishToolCalls  Finish = "tool_calls"  // the model asked for tools
	FinishRejected   Finish = "rejected"    // refused before the engine worked on it: 4xx and 429
	FinishShed       Finish = "shed"        // 503: queue full, not ready, global ceiling
	FinishClientGone Finish = "client_gone" // the client left before the end
	FinishEngineDied Finish = "engine_died" // the engine's answer has no end
	FinishDeadline   Finish = "deadline"    // 504: the request's time was up
	FinishDrained    Finish = "drained"     // ended by a drain whose time was up
	FinishError      Finish = "error"       // 500: a fault of ours
)

// Finishes lists every class from the best to the worst.
var Finishes = []Finish{
	FinishOK, FinishStop, FinishToolCalls, FinishLength, FinishRejected, FinishShed,
	FinishDrained, FinishClientGone, FinishDeadline, FinishEngineDied, FinishError,
}

// ParseFinish returns the class that s names, and whether there is one.
func ParseFinish(s string) (Finish, bool) {
	i := slices.Index(Finishes, Finish(s))
	if i < 0 {
		return FinishError, false
	}
	return Finishes[i], true
}

// Worse returns the worse of two classes: the class of a request whose choices
// ended differently.
func Worse(a, b Finish) Finish {
	if slices.Index(Finishes, a) >= slices.Index(Finishes, b) {
		return a
	}
	return b
}
