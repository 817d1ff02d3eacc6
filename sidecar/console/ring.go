package console

import (
	"math"
	"strconv"
	"sync"
	"time"
)

// ringSize is an hour of samples.
const ringSize = int(time.Hour / interval)

// ring holds the samples of the last hour.
type ring struct {
	mu     sync.Mutex
	times  [ringSize]int64 // milliseconds since 1970
	values []float32       // a row of len(columns) each
	next   int
	count  int
}

func newRing() *ring { return &ring{values: make([]float32, ringSize*len(columns))} }

func (r *ring) add(at time.Time, row []float32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[r.next] = at.UnixMilli()
	copy(r.values[r.next*len(columns):], row)
	r.next = (r.next + 1) % ringSize
	r.count = min(r.count+1, ringSize)
}

// appendJSON appends all samples, the oldest first, column by column: the times, then each of columns.
func (r *ring) appendJSON(dst []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := (r.next - r.count + ringSize) % ringSize
	dst = append(dst, "[["...)
	for i := range r.count {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, r.times[(first+i)%ringSize], 10)
	}
	for c := range columns {
		dst = append(dst, "],["...)
		for i := range r.count {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendNumber(dst, r.values[(first+i)%ringSize*len(columns)+c])
		}
	}
	return append(dst, "]]"...)
}

// appendNumber appends a number with four digits, or null for none.
func appendNumber(dst []byte, v float32) []byte {
	if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, float64(v), 'g', 4, 32)
}
