package measure

import (
	"math"
	"slices"
)

// Spread says how samples lie.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func SpreadOf(samples []float64) Spread {
	return Spread{Median: Percentile(samples, 50), Min: Round(slices.Min(samples)), Max: Round(slices.Max(samples))}
}

// Percentile is the nearest rank.
func Percentile(samples []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	at := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return Round(sorted[max(at, 0)])
}

// Round keeps what a reader can use: three decimals.
func Round(v float64) float64 { return math.Round(v*1000) / 1000 }
