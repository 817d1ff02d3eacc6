package telemetry

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	chunkBytes   = 64 << 10               // one write(2) takes at most this, or one longer line
	bufferBytes  = 4 << 20                // what may wait for the disk; more is dropped
	spareChunks  = 4                      // kept for reuse
	linger       = 5 * time.Millisecond   // lines gather this long, so that a busy process writes in batches
	pathInterval = 100 * time.Millisecond // how often the writer looks whether its file was renamed, or tries again
	restInterval = time.Second            // the same while the kernel tells of renames and all is well
)

// writer is the only one that writes its file. Callers append lines to chunks in
// memory; the goroutine run writes the chunks, looks after the path, and takes a
// new file when the sidecar has renamed the old one.
type writer struct {
	path     string
	boot     string
	maxBytes int64
	report   func(zapcore.Level, string, ...zap.Field)
	dropped  atomic.Uint64

	mu      sync.Mutex
	seq     uint64  // of the last line, accepted or dropped
	taken   uint64  // seq of the last accepted line
	queue   []chunk // oldest first; the last one is being filled
	waiting int     // bytes of all lines not yet written, those in the goroutine's hands too
	spare   [][]byte
	stamp   stamp
	closed  bool
	written uint64        // seq up to which all accepted lines are in the file
	moved   chan struct{} // closed and replaced whenever written rises
	failure error         // why nothing can be written at present

	wake    chan struct{} // there are lines where there were none
	hurry   chan struct{} // do not linger
	renamed chan struct{} // something happened to the file's name
	closing chan struct{}
	done    chan struct{}
	result  error // of the last sync and close; read after done

	// The goroutine's own.
	file        *logFile
	watch       *renameWatch // nil if there is none to be had
	batch       []chunk      // taken from the queue, not yet written
	retiring    sync.WaitGroup
	cannotMove  error // why a rotation could not be followed
	toldDropped uint64
}

// chunk is a run of whole lines.
type chunk struct {
	lines []byte
	last  uint64 // seq of the last line
}

// newWriter opens the file and starts the goroutine. A writer that may not watch
// looks at its path by the clock alone.
func newWriter(path, boot string, maxBytes int64, mayWatch bool, report func(zapcore.Level, string, ...zap.Field)) (*writer, error) {
	file, err := openLogFile(path, openPatience)
	if err != nil {
		return nil, err
	}
	w := &writer{
		path: path, boot: boot, maxBytes: maxBytes, report: report, file: file,
		moved:   make(chan struct{}),
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		renamed: make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if mayWatch {
		if w.watch, err = newRenameWatch(w.renamed); err == nil {
			w.watchFile()
		}
	}
	go w.run()
	return w, nil
}

// append gives the line its place, or drops it when the buffer is full. Tail is
// the line after its head and brace.
func (w *writer) append(t time.Time, tail []byte, urgent bool) (seq uint64, accepted bool) {
	w.mu.Lock()
	w.seq++
	seq = w.seq
	if w.closed || w.waiting+len(tail)+headBytes > bufferBytes {
		w.mu.Unlock()
		w.dropped.Add(1)
		return seq, false
	}
	first := len(w.queue) == 0
	if first || len(w.queue[len(w.queue)-1].lines)+len(tail)+headBytes > chunkBytes {
		w.queue = append(w.queue, chunk{lines: w.newChunk()})
	}
	c := &w.queue[len(w.queue)-1]
	before := len(c.lines)
	c.lines = w.stamp.append(c.lines, t)
	c.lines = appendBootSeq(c.lines, w.boot, seq)
	c.lines = append(c.lines, tail...)
	c.last, w.taken = seq, seq
	w.waiting += len(c.lines) - before
	full := w.waiting > bufferBytes/2
	w.mu.Unlock()
	if first {
		signal(w.wake)
	}
	if urgent || full {
		signal(w.hurry)
	}
	return seq, true
}

func (w *writer) newChunk() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return make([]byte, 0, chunkBytes)
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is pending
	}
}

// sync waits until all lines accepted so far are in the file.
func (w *writer) sync(timeout time.Duration) error {
	w.mu.Lock()
	target := w.taken
	w.mu.Unlock()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		w.mu.Lock()
		written, moved, failure := w.written, w.moved, w.failure
		w.mu.Unlock()
		if written >= target {
			return nil
		}
		signal(w.hurry)
		select {
		case <-moved:
		case <-w.done:
			return fmt.Errorf("cannot write the log: %w", os.ErrClosed)
		case <-deadline.C:
			if failure == nil {
				failure = os.ErrDeadlineExceeded
			}
			return fmt.Errorf("cannot write the log within %s: %w", timeout, failure)
		}
	}
}

// close ends the goroutine, which gets until the deadline to write what waits.
func (w *writer) close(timeout time.Duration) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.mu.Unlock()
	close(w.closing)
	select {
	case <-w.done:
		return w.result
	case <-time.After(timeout):
		return fmt.Errorf("cannot close the log within %s: %w", timeout, os.ErrDeadlineExceeded)
	}
}
