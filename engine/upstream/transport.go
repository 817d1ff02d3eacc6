package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// Why an attempt was given up.
var (
	errLost = errors.New("it went down before it began to answer")
	errIdle = errors.New("its answer stood still for longer than --upstream-idle-timeout")
)

// drainTime is what an upstream gets to end its stream after the terminal event, so
// that the connection can be used again.
const drainTime = 20 * time.Millisecond

// message is what is sent to an upstream.
type message struct {
	path    string
	body    []byte
	headers map[string]string
}

// request returns the call as it is sent. What identifies people or keys stays here.
func (c *Call) request(path string, body []byte) message {
	m := message{path: path, body: body, headers: map[string]string{"Content-Type": "application/json", "Accept": "text/event-stream"}}
	for name, value := range map[string]string{api.HeaderRequestID: c.RequestID, api.HeaderTraceparent: c.Traceparent, "X-Agent-ID": c.Agent} {
		if value != "" {
			m.headers[name] = value
		}
	}
	return m
}

// post sends the message and returns when the answer's header is there. It is given
// up when the watch finds that the upstream is lost.
func (f *Fleet) post(ctx context.Context, cancel context.CancelCauseFunc, s *server, lost <-chan struct{}, m message) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+m.path, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	for name, value := range m.headers {
		req.Header.Set(name, value)
	}
	// Not sent; it says that a connection which the server closed while it was idle may be
	// replaced, without which the request would fail. To make an answer twice harms nobody.
	req.Header["Idempotency-Key"] = nil
	f.authorize(req)
	begun := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-lost:
			cancel(errLost)
		case <-begun:
		}
	})
	resp, err := s.client.Do(req)
	close(begun)
	wg.Wait()
	return resp, err
}

// broken is the outcome of an attempt that the transport or ctx ended.
func (f *Fleet) broken(ctx context.Context, a *answer, err error) outcome {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errLost), errors.Is(cause, errIdle):
		err = cause
	case cause != nil:
		return outcome{verdict: neutral} // whoever asked has left, or has waited long enough
	}
	why := "could not be reached"
	switch {
	case a.begun:
		why = "went away before its answer was complete"
	case errors.Is(err, errIdle):
		why = "did not begin to answer in time"
	}
	return outcome{verdict: failed, err: died(why), why: err}
}

// read reads the answer's events to the terminal one.
func (f *Fleet) read(ctx context.Context, cancel context.CancelCauseFunc, body io.Reader, t target, a *answer, path string) outcome {
	idle := time.AfterFunc(f.cfg.IdleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	events := newEvents(body, func() { idle.Reset(f.cfg.IdleTimeout) })
	take := a.chunk
	if path == "/v1/messages" {
		take = a.message
	}
	for {
		data, err := events.next()
		if errors.Is(err, io.EOF) {
			return outcome{verdict: failed, err: died("ended its answer in the middle"), why: errors.New("its stream has no terminal event")}
		}
		if err != nil {
			return f.broken(ctx, a, err)
		}
		end, err := take(t, data)
		var told *toldError
		switch {
		case errors.As(err, &told):
			return told.outcome(a)
		case errors.Is(err, errUnwanted):
			return outcome{verdict: neutral}
		case err != nil:
			return outcome{verdict: failed, err: died("sent an answer that makes no sense"), why: err}
		case end:
			idle.Reset(drainTime)
			_, _ = io.CopyN(io.Discard, body, 4<<10) // its end, if it comes at once
			return outcome{verdict: served}
		}
	}
}

func isEventStream(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "text/event-stream"
}

// errLine is of a stream whose lines are too long to be events.
var errLine = fmt.Errorf("a line of its stream has more than %d bytes", maxLine)
