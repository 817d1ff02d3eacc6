package engine

import (
	"context"
	"net/http"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// patience is how long an abandoned request waits for the scheduler to tell its
// final counts; the next step usually does.
const patience = 250 * time.Millisecond

// encoder writes answers as one vendor's API has them. Each method appends.
type encoder interface {
	Answer(dst []byte, choices []dialect.Choice, u dialect.Usage) []byte // the whole, as JSON
	Open(dst []byte, u dialect.Usage) []byte                             // what begins a stream
	Delta(dst []byte, choice int, p dialect.Part) []byte                 // a piece of one answer
	End(dst []byte, choice int, end dialect.Ending) []byte               // what ends one answer
	Close(dst []byte, u dialect.Usage) []byte                            // what ends a stream, but for:
	Terminal() string                                                    // the event that says it is whole
}

// whole waits for the end and answers with one JSON body.
func (x *exchange) whole(enc encoder, all choices) {
	all.finished()
	x.result = all.result(patience)
	if x.result.err != nil {
		x.fail(x.result.err)
		return
	}
	answers := make([]dialect.Choice, len(all))
	for i, g := range all {
		answers[i].Part, _ = g.take()
		answers[i].Ending = g.result(patience).ending()
	}
	x.finish = x.result.finish
	setOutcome(x.w.Header(), x.finish, x.result)
	x.tellConflict(all)
	x.json(http.StatusOK, enc.Answer(nil, answers, x.result.usage))
}

// stream sends the answer while it is made. The header waits for the first text,
// so that what fails before it gets a status of its own. An end that is no good
// one is an error event and no terminal event.
func (x *exchange) stream(enc encoder, all choices, cancel context.CancelCauseFunc) {
	s := streamer{dialect: x.dialect, enc: enc, all: all, over: make([]bool, len(all)), left: len(all)}
	for s.left > 0 {
		all.wait(patience)
		err := s.gather()
		if err != nil && x.status == 0 {
			cancel(nil)
			x.result = all.result(patience)
			x.fail(err)
			return
		}
		if len(s.out) == 0 {
			continue
		}
		if x.status == 0 {
			x.tellConflict(all)
			x.openStream()
		}
		if s.left == 0 {
			cancel(nil) // for those that go on beside one that failed
			x.result = all.result(patience)
			x.finish = x.result.finish
			if err != nil {
				x.finish = err.Class()
			}
		}
		if x.write(s.out) != nil {
			cancel(errNoReader)
			x.result = all.result(patience)
			x.finish = api.FinishClientGone
			return
		}
	}
	setOutcome(x.w.Header(), x.finish, x.result)
}

// streamer turns what the choices of a request have made into events.
type streamer struct {
	dialect api.Dialect
	enc     encoder
	all     choices
	over    []bool // by choice
	left    int    // choices that are not over
	open    bool   // the first event was written
	out     []byte
}

// gather writes the events of all that was made since it was called last. An error
// ends the stream with an event of its own.
func (s *streamer) gather() *api.Error {
	s.out = s.out[:0]
	for i, g := range s.all {
		if s.over[i] {
			continue
		}
		part, ended := g.take()
		var end result
		if ended {
			end = g.result(patience)
		}
		if !part.Empty() || ended && end.err == nil {
			s.begin()
		}
		if !part.Empty() {
			s.out = s.enc.Delta(s.out, i, part)
		}
		switch {
		case !ended:
		case end.err != nil:
			s.left = 0
			s.out = append(s.out, end.err.Event(s.dialect)...)
			return end.err
		default:
			s.over[i] = true
			s.left--
			s.out = s.enc.End(s.out, i, end.ending())
		}
	}
	if s.left == 0 {
		s.out = append(s.enc.Close(s.out, s.all.result(patience).usage), s.enc.Terminal()...)
	}
	return nil
}

// begin writes what begins the stream, once.
func (s *streamer) begin() {
	if !s.open {
		s.open = true
		s.out = s.enc.Open(s.out, s.all[0].usage())
	}
}

func (x *exchange) openStream() {
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("Trailer", outcomeNames)
	x.writeHeader(http.StatusOK)
}

// tellConflict says that another turn of the agent ran at the same time, as far as
// that is known when the header goes out.
func (x *exchange) tellConflict(all choices) {
	if all[0].conflict.Load() {
		x.w.Header().Set(api.HeaderAgentConflict, "concurrent-turn")
	}
}
