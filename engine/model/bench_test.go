package model

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine/gguf"
)

func BenchmarkLoad(b *testing.B) {
	path := benchModel(b)
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		m, err := Load(f, Options{})
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		_ = m.Close()
	}
}

// BenchmarkDecode computes one token for each of some sequences of 128 tokens.
func BenchmarkDecode(b *testing.B) {
	m := loadModel(b, benchModel(b), Options{})
	const length = 128
	for _, batch := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			p := newPool(b, m, batch*length/BlockTokens)
			rows := make([]Row, batch)
			for i := range rows {
				table := blockTable(i*length/BlockTokens, length/BlockTokens)
				if err := prefill(m, p, table, 0, length-1); err != nil {
					b.Fatal(err)
				}
				rows[i] = Row{Token: int32(100 + i), Position: length - 1, Blocks: table, Logits: make([]float32, m.Config().Vocab)}
			}
			b.ReportAllocs()
			best := bestOf(b, func() error { return m.Forward(p, rows) })
			b.ReportMetric(float64(batch)/best.Seconds(), "best-tokens/s")
		})
	}
}

func BenchmarkPrefill(b *testing.B) {
	m := loadModel(b, benchModel(b), Options{})
	for _, length := range []int{512, 4096} {
		b.Run(fmt.Sprintf("tokens=%d", length), func(b *testing.B) {
			p := newPool(b, m, length/BlockTokens)
			table := blockTable(0, length/BlockTokens)
			best := bestOf(b, func() error { return prefill(m, p, table, 0, length) })
			b.ReportMetric(float64(length)/best.Seconds(), "best-tokens/s")
		})
	}
}

// bestOf returns the shortest time of many runs, since other programs may hold the CPU.
func bestOf(b *testing.B, do func() error) time.Duration {
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	return best
}

// prefill computes made-up tokens at the positions from up to to.
func prefill(m *Model, p *Pool, table []int32, from, to int) error {
	var rows []Row
	for i := from; i < to; i++ {
		rows = append(rows, Row{Token: int32(1000 + i*37%40000), Position: i, Blocks: table})
	}
	return m.Forward(p, rows)
}

// benchModel is the default model, or what SEMANTIC_BENCH_MODEL names.
func benchModel(b *testing.B) string {
	if path := os.Getenv("SEMANTIC_BENCH_MODEL"); path != "" {
		return path
	}
	return modelPath(b, defaultModel, "make model")
}
