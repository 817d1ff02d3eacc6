package engine

import (
	"context"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// generate answers the requests of one form: read, admit, answer.
func (e *Engine) generate(f form) func(*exchange) {
	return func(x *exchange) {
		b, err := e.serving()
		if err != nil {
			x.fail(err)
			return
		}
		req, err := e.receive(x, b, f)
		if err != nil {
			x.fail(err)
			return
		}
		ctx, cancel, err := x.lifetime()
		if err != nil {
			x.fail(err)
			return
		}
		defer cancel(nil)
		all, err := x.admit(ctx, b, req)
		if now := e.current(); err == errStopping && now != nil && now != b { // another model took its place
			b = now
			all, err = x.admit(ctx, b, req)
		}
		if err != nil {
			x.fail(err)
			return
		}
		enc := f.encoder(e.called(b), b.card().fingerprint, req)
		if req.Stream {
			x.stream(enc, all, cancel)
		} else {
			x.whole(enc, all)
		}
	}
}

// receive reads a body into a request for our model.
func (e *Engine) receive(x *exchange, b backend, f form) (*dialect.Request, *api.Error) {
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	req, err := f.decode(body)
	if err != nil {
		return nil, err
	}
	return req, e.known(b, req.Model)
}

// lifetime returns the context of the answer. It ends when the client leaves, when
// the time that the proxy gave is up, or when cancel is called.
func (x *exchange) lifetime() (context.Context, context.CancelCauseFunc, *api.Error) {
	ms, given, err := x.number(api.HeaderDeadline)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	if !given {
		return ctx, cancel, nil
	}
	end := x.arrival.Add(time.Duration(ms) * time.Millisecond)
	ctx, release := context.WithDeadlineCause(ctx, end, errDeadline)
	return ctx, func(cause error) { cancel(cause); release() }, nil
}

func (x *exchange) admit(ctx context.Context, b backend, req *dialect.Request) (choices, *api.Error) {
	allowance, given, err := x.number(api.HeaderAllowance)
	if err != nil {
		return nil, err
	}
	if !given {
		allowance = -1
	}
	return b.start(ctx, admission{
		Request: req, tenant: x.tenant, agent: x.agent, allowance: allowance, arrival: x.arrival,
		requestID: x.id, traceparent: x.r.Header.Get(api.HeaderTraceparent), trace: x.trace,
	})
}
