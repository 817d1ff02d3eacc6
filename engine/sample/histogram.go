package sample

import (
	"math"
	"slices"
)

// A bucket holds the tokens whose logits, divided by the temperature, lie within 1/resolution of
// each other. Tokens below the last bucket are less probable than the first one by exp(-32);
// all of a large vocabulary's together have a share below 1e-8, and are never picked.
const (
	resolution = 64
	buckets    = 32 * resolution
)

// steps holds exp(-i/resolution).
var steps = func() (t [buckets]float64) {
	for i := range t {
		t[i] = math.Exp(-float64(i) / resolution)
	}
	return t
}()

// histogram tells how the probability is spread over the logits. A weight is a probability
// relative to the most probable token's.
type histogram struct {
	top, scale float32
	mass       [buckets]float64 // the sum of weights
	count      [buckets]int32   // filled by keepCount alone
	last       []token          // the tokens of the bucket that was loaded last, sorted
}

type token struct {
	id     int32
	logit  float32
	weight float64
}

// cut is what is kept: the buckets before one, and the first tokens of that one. When all of a
// bucket is kept, the cut is at the next one with no token.
type cut struct {
	bucket int
	tokens int
	mass   float64 // the weights of all that is kept
}

func (h *histogram) fill(logits []float32, top float32, temperature float64) {
	h.top, h.scale = top, float32(min(resolution/temperature, 1e30)) // finite, for 0 × it must be 0
	clear(h.mass[:])
	scale := h.scale
	for _, x := range logits {
		d := (top - x) * scale
		if !(d < buckets) { // true for NaN
			continue
		}
		i := int32(d) & (buckets - 1)
		h.mass[i] += float64(within(d - float32(i)))
	}
	for i := range h.mass {
		h.mass[i] *= steps[i]
	}
}

// within returns exp(-r/resolution) for r of 0 to 1, by the series' first terms (error 6e-7).
func within(r float32) float32 {
	return 1 - r*(1.0/resolution-r*(0.5/resolution/resolution))
}

func (h *histogram) everything() cut {
	c := cut{bucket: buckets}
	for _, m := range h.mass {
		c.mass += m
	}
	return c
}

// keepCount keeps the n most probable tokens.
func (h *histogram) keepCount(logits []float32, c cut, n int) cut {
	clear(h.count[:])
	top, scale := h.top, h.scale
	for _, x := range logits {
		if d := (top - x) * scale; d < buckets {
			h.count[int32(d)&(buckets-1)]++
		}
	}
	mass := 0.0
	for i := range c.bucket {
		if int(h.count[i]) >= n {
			h.load(logits, i)
			return h.partial(i, mass, n)
		}
		n -= int(h.count[i])
		mass += h.mass[i]
	}
	return c
}

// keepMass keeps the most probable tokens that together have the share of what was kept so far.
func (h *histogram) keepMass(logits []float32, c cut, share float64) cut {
	want, mass := share*c.mass, 0.0
	for i := range c.bucket {
		if mass+h.mass[i] < want {
			mass += h.mass[i]
			continue
		}
		h.load(logits, i)
		return h.partial(i, mass, reach(h.last, want-mass))
	}
	if c.tokens == 0 {
		return c
	}
	return h.partial(c.bucket, mass, reach(h.last[:c.tokens], want-mass)) // still loaded by keepCount
}

// keepWeight keeps the tokens of at least that weight.
func (h *histogram) keepWeight(logits []float32, c cut, least float64) cut {
	d := -math.Log(least)*resolution + 1e-4 // rounding must not lose the bucket that holds the least
	if d >= buckets || int(d) > c.bucket || int(d) == c.bucket && c.tokens == 0 {
		return c
	}
	i, mass := int(d), 0.0
	for j := range i {
		mass += h.mass[j]
	}
	limit := c.tokens
	if i < c.bucket {
		h.load(logits, i)
		limit = len(h.last)
	}
	n := 0
	for n < limit && h.last[n].weight >= least*(1-1e-6) {
		n++
	}
	return h.partial(i, mass, n)
}

// load finds the tokens of one bucket, the most probable first.
func (h *histogram) load(logits []float32, bucket int) {
	h.last = h.last[:0]
	h.scan(logits, bucket, func(t token) bool {
		h.last = append(h.last, t)
		return true
	})
	slices.SortFunc(h.last, byLogit)
}

// partial keeps n of the loaded tokens.
func (h *histogram) partial(bucket int, mass float64, n int) cut {
	return cut{bucket, n, mass + sum(h.last[:n])}
}

// scan visits the tokens of one bucket by their ids, until visit returns false.
func (h *histogram) scan(logits []float32, bucket int, visit func(token) bool) {
	top, scale, want := h.top, h.scale, int32(bucket)
	for i, x := range logits {
		d := (top - x) * scale
		if int32(d) != want || !(d < buckets) { // what is out of range converts to anything
			continue
		}
		if !visit(token{int32(i), x, steps[want] * float64(within(d-float32(want)))}) {
			return
		}
	}
}

// pick returns the token at the point u, of 0 to 1, of the kept weights: first its bucket, then
// the token in it.
func (h *histogram) pick(logits []float32, c cut, u float64) int32 {
	left := u * c.mass
	for i := range c.bucket {
		if h.mass[i] == 0 {
			continue
		}
		if left >= h.mass[i] && !h.isLast(i, c) {
			left -= h.mass[i]
			continue
		}
		picked := int32(-1)
		h.scan(logits, i, func(t token) bool {
			picked = t.id
			left -= t.weight
			return left >= 0
		})
		return picked
	}
	return pickOf(h.last[:c.tokens], left)
}

// isLast says whether nothing is kept after bucket i. Rounding may leave a point beyond all
// weights, and it must fall on a token that is kept.
func (h *histogram) isLast(i int, c cut) bool {
	if c.tokens > 0 {
		return false
	}
	return !slices.ContainsFunc(h.mass[i+1:c.bucket], func(m float64) bool { return m > 0 })
}
