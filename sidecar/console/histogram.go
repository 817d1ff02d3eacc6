package console

import (
	"math"
	"strconv"
)

// histogram is a cumulative one as it was scraped.
type histogram struct {
	bounds []float64 // upper ones, the last is +Inf
	counts []float64 // at or below each
	sum    float64
}

// add takes a series of the histogram whose name ends in part.
func (h *histogram) add(part string, s series) {
	switch part {
	case "_sum":
		h.sum += s.value
	case "_bucket":
		bound, err := strconv.ParseFloat(s.label("le"), 64)
		if err != nil {
			return
		}
		h.bounds, h.counts = append(h.bounds, bound), append(h.counts, s.value)
	}
}

func (h *histogram) total() float64 {
	if len(h.counts) == 0 {
		return 0
	}
	return h.counts[len(h.counts)-1]
}

// since returns what came after an earlier scrape; all of it if that was of another process.
func (h *histogram) since(before *histogram) histogram {
	d := histogram{bounds: h.bounds, counts: append([]float64(nil), h.counts...), sum: h.sum}
	if before == nil || len(before.counts) != len(h.counts) || before.total() > h.total() {
		return d
	}
	for i := range d.counts {
		d.counts[i] -= before.counts[i]
	}
	d.sum -= before.sum
	return d
}

// quantile returns the value below which so much of all lies, as Prometheus would: by a straight
// line within the bucket. NaN if there is nothing.
func (h *histogram) quantile(q float64) float64 {
	total := h.total()
	if total <= 0 {
		return math.NaN()
	}
	rank := q * total
	for i, n := range h.counts {
		if n < rank {
			continue
		}
		low, below := 0.0, 0.0
		if i > 0 {
			low, below = h.bounds[i-1], h.counts[i-1]
		}
		if math.IsInf(h.bounds[i], 1) {
			return low
		}
		if n == below {
			return h.bounds[i]
		}
		return low + (h.bounds[i]-low)*(rank-below)/(n-below)
	}
	return math.NaN()
}

// mean returns the mean of all, NaN if there is nothing.
func (h *histogram) mean() float64 {
	if n := h.total(); n > 0 {
		return h.sum / n
	}
	return math.NaN()
}
