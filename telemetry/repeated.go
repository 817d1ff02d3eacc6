package telemetry

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"
)

// Of warnings and errors with one message, so many lines a second are written, and
// after that each so-manyth: a fault that strikes every request must not fill the disk
// with what is known already. Lines of requests are never left out.
const (
	repeatedFirst = 100
	repeatedEach  = 100
)

// sparing is a core that leaves out what repeats itself. What it leaves out takes no
// seq: a gap there stays the proof of a loss.
type sparing struct {
	zapcore.Core
	seen *repetitions
}

func newSparing(c zapcore.Core, left *atomic.Uint64) *sparing {
	return &sparing{c, &repetitions{left: left, start: time.Now(), seed: maphash.MakeSeed()}}
}

// With and Check make it a zapcore.Core of its own.
func (s *sparing) With(fields []zapcore.Field) zapcore.Core {
	return &sparing{s.Core.With(fields), s.seen}
}

func (s *sparing) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if (e.Level == zapcore.WarnLevel || e.Level == zapcore.ErrorLevel) && !s.seen.let(e.Message) {
		return ce
	}
	return s.Core.Check(e, ce)
}

// repetitions counts messages by the second. Its seconds are those of the monotonic
// clock, which zap's own sampler does not keep to: after a clock was set back by an
// hour it would leave lines out for an hour. Messages that share a place are counted
// as one, which among so many places few do.
type repetitions struct {
	left  *atomic.Uint64 // lines left out
	start time.Time
	seed  maphash.Seed
	of    [1024]struct{ second, lines atomic.Int64 }
}

// let reports whether a line with the message is to be written.
func (r *repetitions) let(message string) bool {
	c := &r.of[maphash.String(r.seed, message)%uint64(len(r.of))]
	now := int64(time.Since(r.start) / time.Second)
	if before := c.second.Load(); before < now && c.second.CompareAndSwap(before, now) {
		c.lines.Store(0)
	}
	n := c.lines.Add(1)
	if n > repeatedFirst && (n-repeatedFirst)%repeatedEach != 0 {
		r.left.Add(1)
		return false
	}
	return true
}
