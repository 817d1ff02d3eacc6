package proxy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// stream is the body of a streamed answer. fasthttp calls WriteTo in the
// connection's own goroutine, and flushes each Write as one chunk.
type stream struct {
	x      *exchange
	up     *upstream
	body   body
	events events
	closes bool // the engine closes its connection after the answer
	ended  bool

	failure error // of the last write to the client
}

// startStream makes the engine's stream the answer's body. The headers go out at
// once unless the first event came with them: a client sees that it was admitted
// before the first token.
func (p *Proxy) startStream(x *exchange, u *upstream, a *answerHead) {
	if !x.ctx.Request.Header.IsHTTP11() {
		x.conn.detach()
		u.hangUp()
		x.release()
		x.fail(errStreamNeedsHTTP11())
		return
	}
	u.narrow()
	x.stream.begin(x, u, a)
	x.ctx.Response.ImmediateHeaderFlush = u.clean()
	x.ctx.Response.SetBodyStream(&x.stream, -1)
}

func (s *stream) begin(x *exchange, u *upstream, a *answerHead) {
	s.x, s.up, s.closes = x, u, a.close
	s.body = newBody(u, a, &x.out)
	s.events.dialect = api.DialectOf(x.route.template)
	x.streaming = true
}

// SupportsBodyWriteTo makes fasthttp call WriteTo and never Read.
func (s *stream) SupportsBodyWriteTo() bool { return true }

func (s *stream) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// WriteTo passes the stream on, each event as soon as it is here, until it ends,
// the client leaves, or the time is up.
func (s *stream) WriteTo(w io.Writer) (n int64, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.x.p.logFault(s.x, fault)
			err = fmt.Errorf("cannot go on with the stream: %v", fault)
			s.finish(api.FinishError)
		}
	}()
	for {
		err := s.pass(w)
		if werr := s.failure; werr != nil {
			return 0, s.leave(werr)
		}
		if errors.Is(err, errMore) {
			err = s.up.fill()
		}
		if err != nil {
			return 0, s.end(w, err)
		}
	}
}

// pass passes on what was received, and says why it cannot go on: errMore, io.EOF, or
// what is wrong with the engine's connection. What is wrong with the client's is failure.
func (s *stream) pass(w io.Writer) error {
	for {
		piece, err := s.body.next()
		if err != nil {
			s.failure = s.flush(w)
			return err
		}
		s.events.add(piece)
	}
}

// flush passes on the events that are whole.
func (s *stream) flush(w io.Writer) error {
	pending := s.events.pending()
	if len(pending) == 0 {
		return nil
	}
	err := s.write(w, pending)
	s.events.passed()
	if x := s.x; s.events.content && x.ttft == 0 {
		x.ttft = time.Since(x.start)
	}
	return err
}

func (s *stream) write(w io.Writer, b []byte) error {
	n, err := w.Write(b)
	s.x.bytesOut += int64(n)
	return err
}

// end writes the truth about how the stream ended. The terminal event goes out
// only if the engine sent it and said in its trailers that all was well.
func (s *stream) end(w io.Writer, err error) error {
	x := s.x
	x.answered = x.now()
	cause := x.conn.detach()
	finish := x.out.finish
	whole := cause == "" && errors.Is(err, io.EOF)
	var refusal *api.Error
	switch {
	case !whole:
		refusal = x.p.endedBy(cause, err)
		finish = refusal.Class()
		if finish == api.FinishClientGone {
			return s.leave(io.ErrClosedPipe)
		}
	case finish == "":
		refusal, finish = errEngineDied("ended the stream without saying how"), api.FinishEngineDied
	case isGood(finish) && !s.events.terminal:
		refusal, finish = errEngineDied("ended the stream without its last event"), api.FinishEngineDied
	case !isGood(finish) && !s.events.failed:
		refusal = &api.Error{Status: statusOf(finish), Code: string(finish), Message: "the engine ended the stream: " + string(finish)}
	}
	last := s.lastWords(finish, refusal)
	if len(last) > 0 {
		if err := s.write(w, last); err != nil {
			return s.leave(err)
		}
	}
	s.putBack(whole)
	x.tellStreamTiming()
	s.finish(finish)
	return nil
}

// lastWords is the terminal event of a stream that ended well, the error event of
// one that did not, or nothing when the engine sent its own.
func (s *stream) lastWords(finish api.Finish, refusal *api.Error) []byte {
	switch {
	case refusal != nil:
		event := refusal.Event(s.events.dialect)
		if s.events.torn {
			event = append([]byte("\n\n"), event...)
		}
		return event
	case isGood(finish):
		return s.events.last()
	}
	return nil
}

// leave ends a stream that the client does not take any more: the engine's
// connection is closed, by which it knows.
func (s *stream) leave(err error) error {
	finish := api.FinishClientGone
	if s.x.conn.detach() == api.FinishDrained {
		finish = api.FinishDrained
	}
	s.finish(finish)
	return err
}

// putBack ends the engine's part in the stream.
func (s *stream) putBack(whole bool) {
	if s.up == nil {
		return
	}
	if whole && !s.closes && s.up.clean() {
		s.up.putBack(s.x.p, s.x.now())
	} else {
		s.up.hangUp()
	}
	s.up = nil
}

// finish records the request, once.
func (s *stream) finish(f api.Finish) {
	if s.ended {
		return
	}
	s.ended = true
	x := s.x
	x.conn.detach()
	s.putBack(false)
	x.finish = f
	if x.ttft == 0 {
		x.ttft = x.firstToken()
	}
	x.p.record(x)
}

// Close is fasthttp's last call. A stream that has not ended by then was never
// begun: the client had left before the headers.
func (s *stream) Close() error {
	x := s.x
	if !x.streaming {
		return nil // the handler failed after all, and goes on with the exchange
	}
	s.finish(api.FinishClientGone)
	x.p.end(x)
	return nil
}

// isGood tells the classes that a terminal event may follow.
func isGood(f api.Finish) bool {
	switch f {
	case api.FinishOK, api.FinishStop, api.FinishLength, api.FinishToolCalls:
		return true
	}
	return false
}

// statusOf is the status that a class would have had before the stream began.
func statusOf(f api.Finish) int {
	switch f {
	case api.FinishShed, api.FinishDrained:
		return 503
	case api.FinishDeadline:
		return 504
	case api.FinishEngineDied:
		return 502
	case api.FinishRejected:
		return 400
	case api.FinishClientGone:
		return statusClientGone
	}
	return 500
}
