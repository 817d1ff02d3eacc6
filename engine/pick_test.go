package engine

import (
	"math"
	"testing"

	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/sample"
)

func TestPenaltiesFollowOpenAIsFormula(t *testing.T) {
	logits := []float32{1, 5, 0, 4.2}
	s := &sequence{sampler: sample.New(sample.Params{}), logits: append([]float32(nil), logits...)}
	s.picker = newPicker(&dialect.Request{PresencePenalty: 0.5, FrequencyPenalty: 0.25, LogitBias: map[int32]float32{2: -3}, Logprobs: true}, nil, noWords{})

	penalized := map[int32]float32{}
	count := map[int32]float32{}
	for i := range 12 {
		best, at := float32(math.Inf(-1)), int32(0)
		for id, x := range logits {
			x -= penalized[int32(id)]
			if id == 2 {
				x -= 3
			}
			if x > best {
				best, at = x, int32(id)
			}
		}
		copy(s.logits, logits)
		if got := s.pick(); got != at {
			t.Errorf("pick %d is %d, want %d", i, got, at)
		}
		count[at]++
		penalized[at] = count[at]*0.25 + 0.5
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(float64(x))
		}
		if got, want := s.picker.picked.Logprob, float64(logits[at])-math.Log(sum); math.Abs(got-want) > 1e-5 {
			t.Errorf("pick %d is told with %g, the model's own is %g", i, got, want)
		}
	}
}

type noWords struct{}

func (noWords) SpecialPiece(int32) []byte { return nil }

func TestPlainRequestsHaveNoPicker(t *testing.T) {
	if p := newPicker(&dialect.Request{Temperature: 1, Seed: 3}, nil, noWords{}); p != nil {
		t.Errorf("got %+v", p)
	}
}
