package telemetry

import (
	"sync/atomic"
	"time"
)

// rateWindow is how many whole seconds a Rate looks back on.
const rateWindow = 10

// Rate is how many things happened a second of late: in the last ten whole
// seconds. It moves with what happens and with time, not with who asks, and takes no
// lock.
type Rate struct {
	// By second, modulo their number: the second in the upper half of the word, in the
	// lower one how many things.
	slots [rateWindow + 1]atomic.Uint64
}

// Add counts n things at a time.
func (r *Rate) Add(now time.Time, n int) {
	second := uint64(uint32(now.Unix())) << 32
	s := &r.slots[now.Unix()%int64(len(r.slots))]
	for {
		old := s.Load()
		next := old
		if old>>32<<32 != second {
			next = second
		}
		if s.CompareAndSwap(old, next+uint64(uint32(n))) {
			return
		}
	}
}

// PerSecond returns the rate at a time.
func (r *Rate) PerSecond(now time.Time) float64 {
	second := now.Unix()
	sum := uint64(0)
	for i := range r.slots {
		slot := r.slots[i].Load()
		if at := int64(slot >> 32); at < second && at >= second-rateWindow {
			sum += slot & (1<<32 - 1)
		}
	}
	return float64(sum) / rateWindow
}
