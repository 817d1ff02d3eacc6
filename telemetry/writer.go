package telemetry

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// run is the goroutine that owns the file.
func (w *writer) run() {
	defer close(w.done)
	interval := w.interval()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	gather := time.NewTimer(linger)
	defer gather.Stop()
	for {
		if next := w.interval(); next != interval {
			interval = next
			tick.Reset(interval)
		}
		select {
		case <-w.closing:
			w.finish()
			return
		case <-w.renamed:
			w.followPath()
		case <-tick.C:
			w.followPath()
			w.tellDropped()
		case <-w.hurry:
			if w.stalled() != nil {
				continue // the ticker tries again
			}
		case <-w.wake:
			gather.Reset(linger)
			select {
			case <-gather.C:
			case <-w.hurry:
			case <-w.closing:
			}
			if w.stalled() != nil {
				continue
			}
		}
		w.flush()
	}
}

// interval is how often the clock makes the writer look and try again.
func (w *writer) interval() time.Duration {
	if w.watch != nil && w.cannotMove == nil && w.stalled() == nil {
		return restInterval
	}
	return pathInterval
}

// watchFile asks the kernel to tell when the file is renamed from now on. Where it
// cannot, the clock does.
func (w *writer) watchFile() {
	if w.watch == nil {
		return
	}
	if err := w.watch.follow(w.file.f); err != nil {
		w.watch.close()
		w.watch = nil
	}
	signal(w.renamed) // it may have been renamed before
}

// flush writes everything that waits. What cannot be written stays for the next time.
func (w *writer) flush() {
	w.mu.Lock()
	w.batch = append(w.batch, w.queue...)
	clear(w.queue)
	w.queue = w.queue[:0]
	w.mu.Unlock()
	for len(w.batch) > 0 {
		c := &w.batch[0]
		if w.file.size+int64(len(c.lines)) > w.maxBytes {
			w.fail(fmt.Errorf("%s has reached its cap of %d bytes and nobody rotates it: is the sidecar running?", w.path, w.maxBytes))
			return
		}
		n, err := w.file.append(c.lines)
		if err != nil {
			w.keepRest(c, n)
			w.fail(err)
			return
		}
		w.mu.Lock()
		w.waiting -= n
		w.advance(c.last)
		if len(w.spare) < spareChunks && cap(c.lines) == chunkBytes {
			w.spare = append(w.spare, c.lines[:0])
		}
		w.mu.Unlock()
		w.batch = w.batch[1:]
	}
	w.batch = nil
	w.recover()
}

// keepRest drops from the chunk the n bytes of whole lines that reached the file.
func (w *writer) keepRest(c *chunk, n int) {
	c.lines = c.lines[n:]
	w.mu.Lock()
	w.waiting -= n
	w.mu.Unlock()
}

// advance says that the lines up to seq are in the file. The caller holds mu.
func (w *writer) advance(seq uint64) {
	w.written = seq
	close(w.moved)
	w.moved = make(chan struct{})
}

// followPath takes a new file when the path no longer names the one that is open.
// The old one is synced and closed beside, which lets its lock go, and is never
// touched again. While no new file can be had the old one goes on.
func (w *writer) followPath() {
	if !w.file.renamed() {
		return
	}
	next, err := openLogFile(w.path, 0)
	if err != nil {
		if w.cannotMove == nil {
			w.report(zapcore.ErrorLevel, "log was rotated but no new file can be had; the old one is written on", zap.Error(err))
		}
		w.cannotMove = err
		return
	}
	old := w.file
	w.file, w.cannotMove = next, nil
	w.watchFile()
	w.retiring.Wait() // at most one at a time
	w.retiring.Go(func() {
		if err := old.close(); err != nil {
			w.report(zapcore.ErrorLevel, "rotated log file could not be synced", zap.String("path", w.path), zap.Error(err))
		}
	})
}

// fail remembers why nothing can be written, and tells it once.
func (w *writer) fail(err error) {
	w.mu.Lock()
	first := w.failure == nil
	w.failure = err
	w.mu.Unlock()
	if first {
		w.report(zapcore.ErrorLevel, "log cannot be written; lines wait in memory and are dropped when it is full", zap.Error(err))
	}
}

// recover tells that writing works again.
func (w *writer) recover() {
	w.mu.Lock()
	was := w.failure
	w.failure = nil
	w.mu.Unlock()
	if was != nil {
		w.report(zapcore.InfoLevel, "log is written again")
	}
}

func (w *writer) stalled() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// tellDropped says how many lines were dropped since it was last said.
func (w *writer) tellDropped() {
	if n := w.dropped.Load(); n != w.toldDropped && w.stalled() == nil {
		w.report(zapcore.WarnLevel, "log lines were dropped", zap.Uint64("lines", n-w.toldDropped))
		w.toldDropped = n
	}
}

// finish writes what waits, trying for half of Close's deadline, and lets go of the
// file. The rest is dropped and counted.
func (w *writer) finish() {
	giveUp := time.Now().Add(closeTimeout / 2)
	w.flush()
	for w.stalled() != nil && time.Now().Before(giveUp) {
		time.Sleep(pathInterval)
		w.followPath()
		w.flush()
	}
	var err error
	if lost := w.countWaiting(); lost > 0 {
		w.dropped.Add(lost)
		err = fmt.Errorf("cannot write the last %d log lines: %w", lost, w.stalled())
	}
	if w.watch != nil {
		w.watch.close()
	}
	w.retiring.Wait()
	w.result = errors.Join(err, w.file.close())
}

// countWaiting counts the lines that are still in memory.
func (w *writer) countWaiting() uint64 {
	n := uint64(0)
	for _, c := range w.batch {
		for _, b := range c.lines {
			if b == '\n' {
				n++
			}
		}
	}
	return n
}
