package engine

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/pool"
	"github.com/semantic-pod/semantic/engine/sample"
	"github.com/semantic-pod/semantic/engine/text"
)

// sequence is a request in the scheduler: its tokens, how many of them the KV
// memory holds, and what makes the next one. All but its generation belongs to
// the scheduler's loop once it was submitted.
type sequence struct {
	*generation
	tenant  string
	agent   string // "" for none
	sampler *sample.Sampler
	picker  *picker // nil for a plain pick
	stream  *text.Stream
	calls   *caller // nil without tools
	told    told
	times   times
	trace   *batchTrace // nil if it is not traced

	tokens []int32 // the prompt, then what was generated
	prompt int     // how many of them are the prompt
	most   int     // tokens that the answer may have

	root     pool.Key    // the key before the first block
	keys     []pool.Key  // of the full blocks of tokens, as far as they were needed
	sealed   int         // blocks of the chain that have their key
	cached   int         // tokens of the prompt that need not be computed
	admitted bool        // it was in the batch before
	warm     bool        // some of it was read from disk
	cold     bool        // it was fetched from the cold store for this turn
	detached atomic.Bool // its agent was deleted while it ran

	order    uint64     // by first admission to the batch; a lower one is older
	chain    pool.Chain // blocks for tokens[:computed], and room for more
	computed int        // tokens whose keys and values are in the chain
	chunk    int        // tokens to compute in this step
	logits   []float32  // after the last token; nil while it is not in the batch
	next     int32      // the token that this step made
	over     bool       // it ended and leaves the batch
}

func (s *sequence) owner() string { return s.tenant }

// vocabulary turns tokens into text.
type vocabulary interface {
	Piece(token int32) []byte
	IsEnd(token int32) bool
}

// pending is how many tokens are known and not computed yet. It is 1 for a
// sequence that decodes, and more while a prompt is read.
func (s *sequence) pending() int { return len(s.tokens) - s.computed }

func (s *sequence) generated() int { return len(s.tokens) - s.prompt }

// accept takes the next token into the answer. It returns how the answer ended,
// or "" if it goes on.
func (s *sequence) accept(token int32, v vocabulary, now time.Time) (api.Finish, *api.Error) {
	if token == noToken {
		return api.FinishError, errNoToken
	}
	s.tokens = append(s.tokens, token)
	if s.times.first.IsZero() {
		s.times.first = now
	}
	s.times.last = now
	finish, out, calls := s.take(token, v)
	usage := dialect.Usage{Prompt: s.prompt, Cached: s.cached, Completion: s.generated()}
	if finish == api.FinishStop {
		s.stoppedBy(s.stream.Matched())
	}
	released := s.told.release(out, finish != "" && s.stream.Matched() == "" && !s.calls.over())
	if !s.push(dialect.Part{Text: out, Tokens: released, Calls: calls}, usage, s.times) {
		return api.FinishClientGone, errTooSlow
	}
	return finish, nil
}

// take reads a token into the answer's text and calls, and says how it ended the answer,
// if it did.
func (s *sequence) take(token int32, v vocabulary) (finish api.Finish, out string, calls []dialect.CallDelta) {
	if v.IsEnd(token) {
		out, calls = s.flush()
		return s.good(), out, calls
	}
	if s.picker != nil && s.picker.tell {
		s.told.add(s.picker.picked)
	}
	complete := s.picker.holds(v.Piece(token))
	out, calls, stopped := s.speak(v.Piece(token))
	switch {
	case stopped:
		return s.good(), out, calls
	case complete:
		finish = s.good()
	case s.generated() >= s.most:
		finish = api.FinishLength
	default:
		return "", out, calls
	}
	last, lastCalls := s.flush()
	return finish, out + last, append(calls, lastCalls...)
}

// good is how an answer ends that its model ended.
func (s *sequence) good() api.Finish {
	if s.calls.called() {
		return api.FinishToolCalls
	}
	return api.FinishStop
}

var errTooSlow = &api.Error{
	Status: statusClientGone, Code: "client_too_slow", Finish: api.FinishClientGone,
	Message: "the answer was ended because its reader fell too far behind",
}

var errFault = &api.Error{
	Status: http.StatusInternalServerError, Code: "internal_error", Finish: api.FinishError,
	Message: "the engine failed while it computed the answer; its log says why",
}

var errDrained = &api.Error{
	Status: http.StatusServiceUnavailable, Code: "shutting_down", Finish: api.FinishDrained, RetryAfter: time.Second,
	Message: "the engine is shutting down",
}
