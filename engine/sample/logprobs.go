package sample

import "math"

// Logprob is a token and the natural logarithm of its probability.
type Logprob struct {
	Token   int32
	Logprob float64
}

// Logprobs returns the log-probability of a token and the k most probable tokens, the first one
// first, appended to dst. They are the model's own: no temperature, nothing cut away.
func Logprobs(dst []Logprob, logits []float32, chosen int32, k int) (Logprob, []Logprob) {
	top := logits[argmax(logits)]
	h := scratch.Get().(*histogram)
	defer scratch.Put(h)
	h.fill(logits, top, 1)
	log := float64(top) + math.Log(h.everything().mass)

	h.last = best(h.last[:0], logits, k)
	for _, t := range h.last {
		dst = append(dst, Logprob{t.id, float64(t.logit) - log})
	}
	return Logprob{chosen, float64(logits[chosen]) - log}, dst
}
