package telemetry

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// mirrorBytes bounds what waits for a stderr that nobody reads.
const mirrorBytes = 256 << 10

// mirror writes lines to Stderr in a goroutine of its own: a pipe that is full
// must block neither a request nor the log file.
type mirror struct {
	out     io.Writer
	dropped atomic.Uint64

	mu      sync.Mutex
	pending []byte
	closed  bool

	wake chan struct{} // capacity 1
	done chan struct{}
}

func newMirror(out io.Writer) *mirror {
	m := &mirror{out: out, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go m.run()
	return m
}

// append takes one whole line, or drops it when too much waits already.
func (m *mirror) append(line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.pending)+len(line) > mirrorBytes {
		m.dropped.Add(1)
		return
	}
	m.pending = append(m.pending, line...)
	select {
	case m.wake <- struct{}{}:
	default: // it is awake
	}
}

func (m *mirror) run() {
	defer close(m.done)
	var batch []byte
	for range m.wake {
		m.mu.Lock()
		batch, m.pending = m.pending, batch[:0]
		closed := m.closed
		m.mu.Unlock()
		if len(batch) > 0 {
			_, _ = m.out.Write(batch) // a stderr that is gone leaves nobody to tell
		}
		if closed {
			return
		}
	}
}

// close writes what waits. A stderr that does not take it in time is left behind.
func (m *mirror) close(timeout time.Duration) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	select {
	case <-m.done:
		return nil
	case <-time.After(timeout):
		return errors.New("cannot write the last log lines to stderr: it does not take them")
	}
}
