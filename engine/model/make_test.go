package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/gguf/ggufmake"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// shape is a model that a test makes up, with random weights.
type shape struct {
	arch                                                           string
	vocab, layers, embedding, heads, kvHeads, headDim, feedForward int
	rotary                                                         int       // rotary elements; all if it is 0
	types                                                          gguf.Type // of the matrices
	output, biases, headNorms                                      bool
	factors                                                        bool // a tensor of rope factors
	set                                                            map[string]any
}

var small = shape{arch: "llama", vocab: 300, layers: 2, embedding: 64, heads: 4, kvHeads: 2, headDim: 16, feedForward: 96}

func (s shape) with(change func(*shape)) shape {
	change(&s)
	return s
}

// file returns the model as a GGUF file.
func (s shape) file() *ggufmake.File {
	f, r := &ggufmake.File{}, rand.New(rand.NewPCG(99, 1))
	f.Set("general.architecture", s.arch)
	for key, n := range map[string]int{
		"block_count": s.layers, "context_length": 2048, "embedding_length": s.embedding,
		"feed_forward_length": s.feedForward, "attention.head_count": s.heads,
		"attention.head_count_kv": s.kvHeads, "attention.key_length": s.headDim, "attention.value_length": s.headDim,
	} {
		f.Set(s.arch+"."+key, uint32(n))
	}
	if s.rotary > 0 {
		f.Set(s.arch+".rope.dimension_count", uint32(s.rotary))
	}
	for key, v := range s.set {
		f.Set(s.arch+"."+key, v)
	}
	vector := func(name string, n int, mean, deviation float64) {
		data := make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(mean+deviation*r.NormFloat64())))
		}
		f.Tensor(name, uint32(gguf.F32), data, uint64(n))
	}
	matrix := func(name string, cols, rows int) {
		f.Tensor(name, uint32(s.types), randomWeights(r, s.types, cols, rows), uint64(cols), uint64(rows))
	}
	matrix("token_embd.weight", s.embedding, s.vocab)
	vector("output_norm.weight", s.embedding, 1, 0.2)
	if s.output {
		matrix("output.weight", s.embedding, s.vocab)
	}
	if s.factors {
		vector("rope_freqs.weight", s.headDim/2, 3, 0.5)
	}
	queries, keys := s.heads*s.headDim, s.kvHeads*s.headDim
	for i := range s.layers {
		name := func(part string) string { return fmt.Sprintf("blk.%d.%s", i, part) }
		vector(name("attn_norm.weight"), s.embedding, 1, 0.2)
		vector(name("ffn_norm.weight"), s.embedding, 1, 0.2)
		matrix(name("attn_q.weight"), s.embedding, queries)
		matrix(name("attn_k.weight"), s.embedding, keys)
		matrix(name("attn_v.weight"), s.embedding, keys)
		matrix(name("attn_output.weight"), queries, s.embedding)
		matrix(name("ffn_gate.weight"), s.embedding, s.feedForward)
		matrix(name("ffn_up.weight"), s.embedding, s.feedForward)
		matrix(name("ffn_down.weight"), s.feedForward, s.embedding)
		if s.biases {
			vector(name("attn_q.bias"), queries, 0, 0.5)
			vector(name("attn_k.bias"), keys, 0, 0.5)
			vector(name("attn_v.bias"), keys, 0, 0.5)
		}
		if s.headNorms {
			vector(name("attn_q_norm.weight"), s.headDim, 1, 0.2)
			vector(name("attn_k_norm.weight"), s.headDim, 1, 0.2)
		}
	}
	return f
}

// randomWeights returns a matrix of a type. Quantized ones are random bytes under scales that
// make the weights about as large as those of a real model.
func randomWeights(r *rand.Rand, t gguf.Type, cols, rows int) []byte {
	elems, size := t.Block()
	data := make([]byte, cols*rows/elems*size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	scale := 1 / math.Sqrt(float64(cols))
	half := func(at int, f float64) { binary.LittleEndian.PutUint16(data[at:], kernel.ToHalf(float32(f))) }
	for at := 0; at < len(data); at += size {
		switch t {
		case gguf.F32:
			binary.LittleEndian.PutUint32(data[at:], math.Float32bits(float32(r.NormFloat64()*scale)))
		case gguf.F16:
			half(at, r.NormFloat64()*scale)
		case gguf.BF16:
			binary.LittleEndian.PutUint16(data[at:], uint16(math.Float32bits(float32(r.NormFloat64()*scale))>>16))
		case gguf.Q8_0:
			half(at, scale/64)
		case gguf.Q4_0, gguf.Q5_0:
			half(at, scale/6)
		case gguf.Q4_1:
			half(at, scale/6)
			half(at+2, -scale*1.3)
		case gguf.Q4_K:
			half(at, scale/6/32)
			half(at+2, scale/24)
		case gguf.Q5_K:
			half(at, scale/12/32)
			half(at+2, scale/24)
		case gguf.Q6_K:
			half(at+208, scale/16/64)
		}
	}
	return data
}

// parsed returns the model as an open file.
func (s shape) parsed(t testing.TB) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(s.file().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// load loads the model.
func (s shape) load(t testing.TB, o Options) *Model {
	t.Helper()
	m, err := Load(s.parsed(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}
