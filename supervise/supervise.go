// Package supervise runs the processes of a pod as children on one host: it
// starts them, restarts one that died with exponential back-off, and stops them
// in order, each within a budget of its own.
//
// Read: supervise (the whole), child (one process's life), ready (how a child
// says that it is up).
package supervise

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Back-off between a child's death and its next start.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// goodRun is how long a child must have been up for its back-off to begin anew.
	goodRun = 10 * time.Second
)

// StatusUsage is the exit status of a child whose configuration is wrong; no
// restart mends that.
const StatusUsage = 2

// Spec describes one child.
type Spec struct {
	Name         string
	Args         []string      // the whole command line; Args[0] is the executable
	Env          []string      // the whole environment
	StartTimeout time.Duration // until it must have said that it is up
	StopTimeout  time.Duration // from SIGTERM until it is killed
	Slow         bool          // it takes longest to be up, and is started before the others
}

// Supervisor runs children. Make one with New.
type Supervisor struct {
	log      *zap.Logger
	children []*child
	fatal    chan error
}

// New returns a supervisor of children, which start at the same time and stop in the
// reverse order of that given.
func New(log *zap.Logger, specs []Spec) *Supervisor {
	s := &Supervisor{log: log, fatal: make(chan error, len(specs))}
	for _, spec := range specs {
		s.children = append(s.children, newChild(spec, log, s.fatal))
	}
	return s
}

// Run starts the children and keeps them running until ctx ends; then it stops
// them one after the other. When abort closes, what still runs is killed. The
// error says which child could not be kept running; it wraps *ExitError where
// the child left with a status.
func (s *Supervisor) Run(ctx context.Context, abort <-chan struct{}) error {
	var wg sync.WaitGroup
	for _, slow := range []bool{true, false} {
		for _, c := range s.children {
			if c.Slow == slow {
				wg.Go(c.run)
				select { // each begins to compute at once, so that there is no core for who comes later
				case <-c.launched:
				case <-ctx.Done():
				}
			}
		}
	}
	var fatal error
	select {
	case <-ctx.Done():
	case fatal = <-s.fatal:
		s.log.Error("stopping: a process cannot be kept running", zap.Error(fatal))
	}
	killed := s.stop(abort)
	wg.Wait()
	return errors.Join(fatal, killed)
}

// stop ends the children in the reverse order of their start.
func (s *Supervisor) stop(abort <-chan struct{}) error {
	var errs []error
	for i := len(s.children) - 1; i >= 0; i-- {
		c := s.children[i]
		close(c.stop)
		select {
		case <-c.done:
		case <-abort:
			s.log.Warn("second signal: killing what still runs")
			for _, rest := range s.children[:i+1] {
				close(rest.kill)
			}
			for _, rest := range s.children[:i] {
				close(rest.stop)
				<-rest.done
			}
			<-c.done
			return errors.New("stopped by a second signal before the drain had ended")
		}
		if c.overran {
			errs = append(errs, fmt.Errorf("%s had to be killed: it did not stop within %v", c.Name, c.StopTimeout))
		}
	}
	return errors.Join(errs...)
}
