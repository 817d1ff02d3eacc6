package engine

import (
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// endless is a vocabulary in which no token ends an answer.
type endless struct{ vocabulary }

func (endless) IsEnd(int32) bool { return false }

// stepper returns an engine's scheduler whose loop is over, so that the test takes the steps, with so
// many sampled answers that have begun.
func stepper(tb testing.TB, answers int) (s *scheduler, step func()) {
	cfg := testConfig(tb)
	cfg.MaxBatch = answers
	n := startEngine(tb, cfg).current().(*native)
	s = n.scheduler
	if err := s.stop(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	s.words = endless{s.words}
	for i := range answers {
		a := admission{Request: &dialect.Request{Temperature: 0.8, TopP: 0.9, TopK: 40, Seed: uint64(i) + 1}, arrival: time.Now()}
		seq := n.sequence(a, 0, newGeneration(tb.Context(), true, a.arrival), []int32{5, 6, 7, int32(8 + i)}, 1<<20)
		seq.order = uint64(i)
		if !s.seat(seq) {
			tb.Fatalf("there is no room for answer %d", i)
		}
	}
	step = func() {
		s.step()
		for _, seq := range s.running { // what a reader does, without what he allocates
			seq.mu.Lock()
			seq.text, seq.bytes = seq.text[:0], 0
			seq.mu.Unlock()
		}
	}
	for range 20 {
		step()
	}
	return s, step
}

// TestStepAllocatesNothing: the whole step of the scheduler, with planning, the forward pass, sampling,
// text and metrics. The answer's tokens grow now and then: less than one allocation a step.
func TestStepAllocatesNothing(t *testing.T) {
	const answers = 4
	s, step := stepper(t, answers)
	if n := testing.AllocsPerRun(100, step); n >= 1 && !raceEnabled {
		t.Errorf("%g allocations a step of %d answers, want none", n, answers)
	}
	if len(s.running) != answers {
		t.Errorf("%d answers run after the steps, want %d", len(s.running), answers)
	}
}
