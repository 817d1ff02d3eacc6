package top

import "math"

// bucket is how many values were at most bound.
type bucket struct{ bound, count float64 }

// quantile estimates the value below which a share q of the values lie, as Prometheus's
// histogram_quantile does: evenly spread in their bucket. It is NaN without values, and
// the highest finite bound where it lies above that.
func quantile(q float64, all []bucket) float64 {
	if len(all) < 2 || all[len(all)-1].count <= 0 {
		return math.NaN()
	}
	rank := q * all[len(all)-1].count
	below, from := 0.0, 0.0
	for i, b := range all {
		if b.count >= rank && b.count > below {
			if i == len(all)-1 {
				return from
			}
			return from + (b.bound-from)*(rank-below)/(b.count-below)
		}
		below, from = b.count, b.bound
	}
	return from
}
