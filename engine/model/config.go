package model

import (
	"fmt"
	"math"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// Config is the shape of a model.
type Config struct {
	Architecture string
	Vocab        int
	Layers       int
	Embedding    int
	Heads        int
	KVHeads      int
	HeadDim      int
	FeedForward  int
	Context      int // tokens that the model was trained to see

	epsilon    float32 // of the norms
	queryScale float32 // of a query before it meets the keys
	rope       ropeConfig
}

// family is what distinguishes the architectures.
type family struct {
	ropeHalves bool // rotary pairs are an element of each half, not neighbours
	biases     bool // queries, keys and values have biases
	headNorms  bool // queries and keys are normed head by head
}

var families = map[string]family{
	"llama": {},
	"qwen2": {ropeHalves: true, biases: true},
	"qwen3": {ropeHalves: true, headNorms: true},
}

// Limits that a believable model keeps, so that a lying file cannot ask for all memory.
const (
	maxLayers = 1 << 10
	maxWidth  = 1 << 20
	maxTokens = 1 << 24
)

// keys reads an architecture's own metadata and remembers the first that was wrong.
type keys struct {
	file *gguf.File
	arch string
	err  error
}

func (k *keys) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf(format, args...)
	}
}

// number reads a whole number from 1 to limit; fallback stands in for a missing one unless it is 0.
func (k *keys) number(name string, fallback, limit int) int {
	key := k.arch + "." + name
	n, ok := k.file.Uint(key)
	if !ok {
		n = uint64(fallback)
		if list, isList := k.file.Ints(key); isList && len(list) > 0 {
			n = uint64(k.same(key, list))
		} else if fallback == 0 {
			k.fail("the metadata lacks %s", key)
			return 1
		}
	}
	if n < 1 || n > uint64(limit) {
		k.fail("the metadata's %s is %d: 1 to %d are possible", key, n, limit)
		return 1
	}
	return int(n)
}

// same returns the value that all layers share; layers of different shapes are not supported.
func (k *keys) same(key string, list []int64) int64 {
	for _, n := range list {
		if n != list[0] {
			k.fail("the metadata's %s differs from layer to layer, which is not supported", key)
		}
	}
	return list[0]
}

func (k *keys) float(name string, fallback float64) float64 {
	f, ok := k.file.Float(k.arch + "." + name)
	if !ok {
		return fallback
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		k.fail("the metadata's %s.%s is %g", k.arch, name, f)
		return fallback
	}
	return f
}

func (k *keys) string(name string) string {
	s, _ := k.file.String(k.arch + "." + name)
	return s
}

// readConfig reads the shape of a model, and refuses what the forward pass could not do justice.
func readConfig(f *gguf.File) (Config, family, error) {
	arch, ok := f.String("general.architecture")
	if !ok {
		return Config{}, family{}, fmt.Errorf("the metadata lacks general.architecture")
	}
	fam, ok := families[arch]
	if !ok {
		return Config{}, family{}, fmt.Errorf("architecture %q is not supported: llama, qwen2 and qwen3 are", arch)
	}
	k := &keys{file: f, arch: arch}
	c := Config{
		Architecture: arch,
		Layers:       k.number("block_count", 0, maxLayers),
		Embedding:    k.number("embedding_length", 0, maxWidth),
		FeedForward:  k.number("feed_forward_length", 0, maxWidth),
		Heads:        k.number("attention.head_count", 0, maxWidth),
		Context:      k.number("context_length", 0, maxTokens),
		epsilon:      float32(k.float("attention.layer_norm_rms_epsilon", 1e-5)),
	}
	c.KVHeads = k.number("attention.head_count_kv", c.Heads, maxWidth)
	c.HeadDim = k.number("attention.key_length", max(c.Embedding/c.Heads, 1), maxWidth)
	if v := k.number("attention.value_length", c.HeadDim, maxWidth); v != c.HeadDim {
		k.fail("keys of %d and values of %d elements are not supported: they must be equal", c.HeadDim, v)
	}
	if c.Heads%c.KVHeads != 0 {
		k.fail("%d heads cannot share %d KV heads", c.Heads, c.KVHeads)
	}
	if n, _ := f.Uint(arch + ".expert_count"); n > 0 {
		k.fail("mixtures of experts (%s.expert_count %d) are not supported", arch, n)
	}
	if err := kernel.KVF16.CheckHead(c.HeadDim); err != nil {
		k.fail("%w", err)
	}
	c.queryScale = float32(k.float("attention.scale", 1/math.Sqrt(float64(c.HeadDim))))
	c.rope = readRope(k, c, fam)
	return c, fam, k.err
}
