package engine

import (
	"context"
	"fmt"
)

// post gives the loop something to do between two steps. It never waits.
func (s *scheduler) post(f func()) {
	s.mu.Lock()
	s.mail = append(s.mail, f)
	s.mu.Unlock()
	s.awaken()
}

// awaken lets an idle loop look for work.
func (s *scheduler) awaken() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// readMail does what was posted. It is the loop's; once that is over, it is for who
// has joined it.
func (s *scheduler) readMail() {
	s.mu.Lock()
	mail := s.mail
	s.mail = nil
	s.mu.Unlock()
	for _, f := range mail {
		f()
	}
}

// inquire lets the loop run f between two steps and returns what f does.
func inquire[T any](ctx context.Context, s *scheduler, f func() T) (T, error) {
	answer := make(chan T, 1)
	s.post(func() { answer <- f() })
	var none T
	select {
	case v := <-answer:
		return v, nil
	case <-s.ended:
		return none, fmt.Errorf("the engine is shutting down")
	case <-ctx.Done():
		return none, fmt.Errorf("the scheduler did not answer: %w", context.Cause(ctx))
	}
}
