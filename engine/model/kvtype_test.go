package model

import (
	"math"
	"testing"

	"github.com/semantic-pod/semantic/engine/kernel"
)

// perplexity is e to the mean surprise of the default model by the reference's texts.
func (r *reference) perplexity(t *testing.T, m *Model) float64 {
	t.Helper()
	vocab, p := m.Config().Vocab, newPool(t, m, 1024/BlockTokens)
	table, logits := blockTable(0, 1024/BlockTokens), make([]float32, 128*m.Config().Vocab)
	sum, count := 0.0, 0
	for _, d := range r.Documents {
		for from := 0; from < len(d.Tokens)-1; from += 128 {
			var rows []Row
			for i := from; i < min(from+128, len(d.Tokens)-1); i++ {
				rows = append(rows, Row{Token: d.Tokens[i], Position: i, Blocks: table, Logits: logits[(i-from)*vocab:][:vocab]})
			}
			if err := m.Forward(p, rows); err != nil {
				t.Fatal(err)
			}
			for i, row := range rows {
				sum += surprise(row.Logits, d.Tokens[from+i+1])
				count++
			}
		}
	}
	return math.Exp(sum / float64(count))
}

// surprise is how improbable a token is, as a natural logarithm.
func surprise(logits []float32, token int32) float64 {
	best, sum := logits[argmax(logits)], 0.0
	for _, f := range logits {
		sum += math.Exp(float64(f - best))
	}
	return math.Log(sum) - float64(logits[token]-best)
}

func TestKeysAndValuesInBytesCostLittle(t *testing.T) {
	r := readReference(t)
	var perplexity, divergence [2]float64
	for _, kv := range []kernel.KVType{kernel.KVF16, kernel.KVQ8} {
		m := loadModel(t, modelPath(t, defaultModel, makeModel), Options{KV: kv})
		_, divergence[kv] = r.measure(t, m)
		perplexity[kv] = r.perplexity(t, m)
		t.Logf("%v: perplexity %.4f, mean KL from the truth %.6f, %d bytes a token", kv, perplexity[kv], divergence[kv], m.blockBytes()/BlockTokens)
	}
	if ratio := perplexity[kernel.KVQ8] / perplexity[kernel.KVF16]; !(ratio < 1.005) {
		t.Errorf("bytes raise the perplexity by a factor of %.4f, want less than 1.005", ratio)
	}
	if theirs := r.Measured[2]; !(divergence[kernel.KVQ8] < theirs.KL) {
		t.Errorf("with bytes we are farther from the truth than llama.cpp, %s: %.6f", theirs.Name, theirs.KL)
	}
}

func TestKeysAndValuesInBytesGiveTheSameBitsInEveryBatch(t *testing.T) {
	m := loadModel(t, modelPath(t, defaultModel, makeModel), Options{KV: kernel.KVQ8})
	const tokens = 70
	run := func(chunk int) []float32 {
		p, table, out := newPool(t, m, 8), blockTable(0, 8), make([]float32, m.Config().Vocab)
		for from := 0; from < tokens; from += chunk {
			var rows []Row
			for i := from; i < min(from+chunk, tokens); i++ {
				rows = append(rows, Row{Token: int32(500 + 7*i), Position: i, Blocks: table})
			}
			if from+chunk >= tokens {
				rows[len(rows)-1].Logits = out
			}
			if err := m.Forward(p, rows); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	want := run(tokens)
	for _, chunk := range []int{1, 7, 32} {
		for i, got := range run(chunk) {
			if got != want[i] {
				t.Fatalf("in chunks of %d logit %d is %g, want %g", chunk, i, got, want[i])
			}
		}
	}
}
