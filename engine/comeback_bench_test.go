package engine

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// BenchmarkAgentComesBack measures the time to the first token of an agent that comes
// back with 2,000 tokens and a new question of 12: computed anew, found in memory, and
// read from disk. The engine's own times; medians.
func BenchmarkAgentComesBack(b *testing.B) {
	cfg := testConfig(b)
	cfg.Model, cfg.KVMemory, cfg.Threads, cfg.CacheDir = enginetest.Default(b), 256<<20, 0, filepath.Join(b.TempDir(), "agents")
	e := startEngine(b, cfg)
	s := e.current().(*native).scheduler
	rng := rand.New(rand.NewPCG(1, 1))
	var cold, hot, warm []float64
	ttft := func(tokens []int32, cached float64, headers ...string) float64 {
		r := e.post(completionPath, fmt.Sprintf(`{"model":"default","prompt":%s,"max_tokens":1,"temperature":0}`, ids(tokens)), headers...)
		var ms, n float64
		_, _ = fmt.Sscan(r.outcome(api.HeaderTTFT), &ms)
		_, _ = fmt.Sscan(r.outcome(api.HeaderCachedTokens), &n)
		if r.status != 200 || n != cached {
			b.Fatalf("%d, %g tokens cached, want %g: %s", r.status, n, cached, r.body)
		}
		return ms
	}
	for b.Loop() {
		tokens := make([]int32, 2000)
		for i := range tokens {
			tokens[i] = int32(1000 + rng.IntN(40000))
		}
		question := func() []int32 { return append(slices.Clone(tokens), tokens[rng.IntN(1000):][:12]...) }
		e.flush()
		cold = append(cold, ttft(tokens, 0, as("acme", "a")...))
		hot = append(hot, ttft(question(), 2000, as("acme", "a")...))
		done := make(chan error, 1)
		if _, err := inquire(b.Context(), s, func() bool {
			a := s.agents.known[agentName{"acme", "a"}]
			return s.disk.queue.TryEnqueue(s.job(a, func(err error) { done <- err }))
		}); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if _, err := inquire(b.Context(), s, func() int {
			s.evict(s.agents.known[agentName{"acme", "a"}])
			return s.blocks.Flush()
		}); err != nil {
			b.Fatal(err)
		}
		warm = append(warm, ttft(question(), 2000, as("acme", "a")...))
	}
	middle := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(middle(cold), "cold-ms")
	b.ReportMetric(middle(hot), "hot-ms")
	b.ReportMetric(middle(warm), "warm-ms")
	b.ReportMetric(middle(cold)/middle(hot), "cold/hot")
	b.ReportMetric(middle(cold)/middle(warm), "cold/warm")
}
