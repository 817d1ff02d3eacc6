// Package sample picks the next token from a model's logits.
//
// The order is that of Hugging Face's and vLLM's: the temperature first, then top-k, then top-p
// over what top-k left, then min-p. All of them cut the least probable tokens away, so what is
// left is always the tokens down to some logit; no step sorts the vocabulary to find it.
//
// Read: sample.go (a pick), best.go (from a few tokens), histogram.go (from many), logprobs.go.
package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// Params are how to pick. The zero value is greedy.
type Params struct {
	Temperature float64 // 0 picks the most probable token
	TopK        int     // keep the k most probable; 0 keeps all
	TopP        float64 // keep the most probable that reach this share together; 0 and 1 keep all
	MinP        float64 // keep those at least this many times as probable as the first; 0 keeps all
	Seed        uint64  // the same seed picks the same tokens from the same logits
}

// Sampler picks the tokens of one answer. It is not for several goroutines at once.
type Sampler struct {
	Params
	random *rand.PCG
}

// New returns a sampler that has not picked anything yet.
func New(p Params) *Sampler {
	return &Sampler{p, rand.NewPCG(p.Seed, 0x5e3a47ec)}
}

// scratch is the working memory of a pick, which samplers share: there are as many samplers as
// answers, but few pick at the same time.
var scratch = sync.Pool{New: func() any { return new(histogram) }}

// Next picks a token. Greedy takes the lowest id of equals. A logit that is not a number is never
// picked, nor one of minus infinity, unless there is no other.
func (s *Sampler) Next(logits []float32) int32 {
	first := argmax(logits)
	top := float64(logits[first])
	if s.Temperature <= 0 || s.TopK == 1 || math.IsInf(top, 0) || math.IsNaN(top) {
		return first
	}
	h := scratch.Get().(*histogram)
	defer scratch.Put(h)
	u := float64(s.random.Uint64()>>11) * 0x1p-53
	if s.TopK > 0 && s.TopK <= fewTokens {
		return h.pickFew(logits, s.Params, u)
	}
	h.fill(logits, logits[first], s.Temperature)
	cut := h.everything()
	if s.TopK > 0 {
		cut = h.keepCount(logits, cut, s.TopK)
	}
	if s.TopP > 0 && s.TopP < 1 {
		cut = h.keepMass(logits, cut, s.TopP)
	}
	if s.MinP > 0 {
		cut = h.keepWeight(logits, cut, math.Min(s.MinP, 1))
	}
	return h.pick(logits, cut, u)
}

// argmax returns the lowest id of the highest logits.
func argmax(logits []float32) int32 {
	best, at := float32(math.Inf(-1)), -1
	i := 0
	for ; i+8 <= len(logits); i += 8 { // mostly, none of eight is higher
		x := logits[i : i+8 : i+8]
		if x[0] > best || x[1] > best || x[2] > best || x[3] > best ||
			x[4] > best || x[5] > best || x[6] > best || x[7] > best {
			best, at = higher(x, i, best, at)
		}
	}
	_, at = higher(logits[i:], i, best, at)
	if at < 0 { // nothing is possible: the first that is a number
		at = slices.IndexFunc(logits, func(x float32) bool { return x == x })
	}
	return int32(max(at, 0))
}

func higher(logits []float32, from int, best float32, at int) (float32, int) {
	for i, x := range logits {
		if x > best {
			best, at = x, from+i
		}
	}
	return best, at
}
