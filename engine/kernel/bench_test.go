package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkMul multiplies a matrix that stays in the CPU's cache with one and with many columns.
// The best of many short runs is reported, since other programs may hold the CPU.
func BenchmarkMul(b *testing.B) {
	const rows, cols = 256, 768
	r := rand.New(rand.NewPCG(1, 1))
	v := Best()
	for _, typ := range types {
		m := packed(b, typ, rows, cols, tensorBytes(r, typ, rows*cols))
		for _, count := range []int{1, 4, 8, 32} {
			b.Run(fmt.Sprintf("%v/columns=%d", typ, count), func(b *testing.B) {
				x := columns(cols, count, func(int) float32 { return float32(r.NormFloat64()) })
				out := NewColumns(rows, count, 0)
				for i := range count {
					v.Quantize(x, i, 0, cols)
				}
				s := NewScratch(16)
				best := bestOf(b, func() { v.Mul(s, m, 0, m.Panels(), x, 0, out.Vectors(0, count), false) })
				b.ReportMetric(float64(rows*cols*count)/float64(best.Nanoseconds()), "products/ns")
			})
		}
	}
}

func bestOf(b *testing.B, do func()) time.Duration {
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		do()
		best = min(best, time.Since(start))
	}
	return best
}

// BenchmarkAttend answers queries about a context that stays in the CPU's cache.
func BenchmarkAttend(b *testing.B) {
	const dim, tokens = 64, 512
	v := Best()
	r := rand.New(rand.NewPCG(2, 2))
	p, s := makePaged(v, r, KVF16, tokens, dim), NewScratch(dim)
	for _, count := range []int{1, 3, 15} {
		b.Run(fmt.Sprintf("queries=%d", count), func(b *testing.B) {
			queries := makeQueries(r, count, tokens, dim)
			for i := range queries {
				queries[i].Tokens = tokens
			}
			best := bestOf(b, func() { v.Attend(s, &p.heads, p.table, queries) })
			b.ReportMetric(float64(2*dim*tokens*count)/float64(best.Nanoseconds()), "products/ns")
		})
	}
}
