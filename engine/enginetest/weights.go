package enginetest

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// weights adds every tensor of a Llama of that shape.
func (w *ggufWriter) weights(s Shape) {
	rng := rand.New(rand.NewPCG(s.Seed, 0x5eed))
	head := s.Embedding / s.Heads
	random := func(in, out int) []float32 {
		data := make([]float32, in*out)
		scale := 1 / math.Sqrt(float64(in))
		for i := range data {
			data[i] = float32(rng.NormFloat64() * scale)
		}
		return data
	}
	matrix := func(name string, in, out int) { w.tensor(name, random(in, out), in, out) }
	norm := func(name string) {
		data := make([]float32, s.Embedding)
		for i := range data {
			data[i] = 1
		}
		w.tensor(name, data, s.Embedding)
	}
	matrix("token_embd.weight", s.Embedding, vocabulary)
	for layer := range s.Layers {
		name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", layer, part) }
		norm(name("attn_norm"))
		matrix(name("attn_q"), s.Embedding, s.Heads*head)
		matrix(name("attn_k"), s.Embedding, s.KVHeads*head)
		matrix(name("attn_v"), s.Embedding, s.KVHeads*head)
		matrix(name("attn_output"), s.Heads*head, s.Embedding)
		norm(name("ffn_norm"))
		matrix(name("ffn_gate"), s.Embedding, s.FeedForward)
		matrix(name("ffn_up"), s.Embedding, s.FeedForward)
		matrix(name("ffn_down"), s.FeedForward, s.Embedding)
	}
	norm("output_norm.weight")
	output := random(s.Embedding, vocabulary)
	// The logit of a token that is no printable text is always 0: among so many
	// others it is never the highest one, so a greedy answer is readable and goes on
	// until its length is used up.
	for id := range vocabulary {
		if !printableToken(id) {
			clear(output[id*s.Embedding : (id+1)*s.Embedding])
		}
	}
	w.tensor("output.weight", output, s.Embedding, vocabulary)
}
