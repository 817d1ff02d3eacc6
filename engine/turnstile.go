package engine

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// turnstile lets so many requests in at once; the others wait in a fair queue, which
// is bounded.
type turnstile struct {
	depth    int        // requests that may wait
	capacity func() int // requests that may be inside

	mu      sync.Mutex
	queue   fairQueue[*ticket]
	inside  atomic.Int64
	closed  bool
	service float64 // seconds that a request is inside, smoothed
}

// ticket is a request before the turnstile.
type ticket struct {
	tenant string
	called chan struct{} // closed when it may go in, or was turned away
	err    *api.Error    // why it was; set before called is closed
}

func (t *ticket) owner() string { return t.tenant }

// line puts a request into the queue, or refuses it. A full queue makes room at the
// cost of a tenant that has more in it.
func (s *turnstile) line(tenant string) (*ticket, *api.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errStopping
	}
	t := &ticket{tenant: tenant, called: make(chan struct{})}
	if s.queue.len() == 0 && int(s.inside.Load()) < s.capacity() {
		s.inside.Add(1)
		close(t.called)
		return t, nil
	}
	if s.queue.len() >= s.depth {
		shed := s.queue.yield(tenant)
		if shed == nil {
			return nil, s.full()
		}
		shed.err = s.full()
		close(shed.called)
	}
	s.queue.push(t)
	return t, nil
}

// full is the answer to a request for which the queue has no room.
func (s *turnstile) full() *api.Error {
	seconds := s.service * float64(s.queue.len()) / float64(max(1, s.capacity()))
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: "overloaded", Finish: api.FinishShed,
		RetryAfter: time.Duration(min(max(math.Ceil(seconds), 1), 60)) * time.Second,
		Message:    fmt.Sprintf("%d requests wait already, as many as --queue-depth allows; try again later", s.queue.len()),
	}
}

// enter waits until the ticket is called. It returns false, with the reason if there
// is one, when the request does not get in.
func (s *turnstile) enter(ctx context.Context, t *ticket) (bool, *api.Error) {
	select {
	case <-t.called:
		return t.err == nil, t.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	waited := len(s.queue.remove(func(other *ticket) bool { return other == t })) > 0
	s.mu.Unlock()
	if !waited && t.err == nil { // it was called at the same moment
		s.leave(0)
	}
	return false, t.err
}

// leave lets the next ones in after a request has ended.
func (s *turnstile) leave(inside time.Duration) {
	s.mu.Lock()
	if inside > 0 {
		s.service += (inside.Seconds() - s.service) / 8
	}
	s.inside.Add(-1)
	s.mu.Unlock()
	s.advance()
}

// advance calls those that there is room for.
func (s *turnstile) advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for int(s.inside.Load()) < s.capacity() {
		t := s.queue.next()
		if t == nil {
			return
		}
		s.queue.pop()
		s.inside.Add(1)
		close(t.called)
	}
}

// close turns away all that wait and all that come.
func (s *turnstile) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, t := range s.queue.remove(func(*ticket) bool { return true }) {
		t.err = errDrained
		close(t.called)
	}
}

func (s *turnstile) counts() (queued, inside int) {
	return s.queue.len(), int(s.inside.Load())
}
