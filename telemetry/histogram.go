package telemetry

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
)

// Histogram counts values in buckets. Updates and scrapes never wait for each other:
// all of its state is words that are read and written atomically.
type Histogram struct {
	bounds  []float64
	buckets []atomic.Uint64 // not cumulative; the last one is +Inf's
	sum     FloatCounter
	latest  []atomic.Pointer[exemplar] // by bucket

	names           []string // each bucket's, and a blank
	sumName, nTotal string   // of the sum, and of the count
}

func newHistogram(name, labels string, bounds []float64) *Histogram {
	if len(bounds) == 0 || !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) < len(bounds) {
		panic(fmt.Sprintf("histogram %s needs bounds that rise, not %v", name, bounds))
	}
	n := len(bounds) + 1
	h := &Histogram{
		bounds: bounds, buckets: make([]atomic.Uint64, n), latest: make([]atomic.Pointer[exemplar], n), names: make([]string, n),
		sumName: series(name+"_sum", labels) + " ", nTotal: series(name+"_count", labels) + " ",
	}
	if labels != "" {
		labels += ","
	}
	for i := range h.names {
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		h.names[i] = series(name+"_bucket", labels+`le="`+le+`"`) + " "
	}
	return h
}

// bucket finds the bucket that a value belongs in. There are few, and most values are
// in the first ones.
func (h *Histogram) bucket(v float64) int {
	for i, bound := range h.bounds {
		if v <= bound {
			return i
		}
	}
	return len(h.bounds)
}

// Update counts a value. What is negative or no number is not counted.
func (h *Histogram) Update(v float64) {
	if !(v >= 0) {
		return
	}
	h.buckets[h.bucket(v)].Add(1)
	h.sum.Add(v)
}

// append writes the histogram's lines. Its count is that of the buckets as they were
// read; the sum may be a value ahead or behind while there are updates.
func (h *Histogram) append(b []byte) []byte {
	total := uint64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
		b = append(strconv.AppendUint(append(b, h.names[i]...), total, 10), '\n')
	}
	b = append(appendNumber(append(b, h.sumName...), h.sum.Get()), '\n')
	return append(strconv.AppendUint(append(b, h.nTotal...), total, 10), '\n')
}

// FloatCounter is a counter of seconds or other fractions.
type FloatCounter struct{ bits atomic.Uint64 }

// Add counts v more.
func (c *FloatCounter) Add(v float64) {
	for {
		old := c.bits.Load()
		if c.bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Get returns what was counted.
func (c *FloatCounter) Get() float64 { return math.Float64frombits(c.bits.Load()) }
