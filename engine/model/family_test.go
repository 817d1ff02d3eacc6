package model

import (
	"math"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

func contains(err error, want string) bool { return err != nil && strings.Contains(err.Error(), want) }

// distance is the root mean square of the difference of two lists, relative to that of the second.
func distance(got []float32, want []float64) float64 {
	difference, size := 0.0, 0.0
	for i, w := range want {
		difference += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	return math.Sqrt(difference / size)
}

// checkShape compares a made-up model's logits after each of some tokens with the naive pass.
func checkShape(t *testing.T, s shape, tolerance float64) {
	t.Helper()
	const tokens = 20
	n := &naive{shape: s, t: t, file: s.parsed(t)}
	want := make([][]float64, tokens)
	for i := range want {
		want[i] = n.next(int32(i * 7 % s.vocab))
	}
	for _, v := range kernel.Variants() {
		m := s.load(t, Options{Threads: 2, Variant: v})
		p := newPool(t, m, 2)
		rows := make([]Row, tokens)
		for i := range rows {
			rows[i] = Row{Token: int32(i * 7 % s.vocab), Position: i, Blocks: []int32{1, 0}, Logits: make([]float32, s.vocab)}
		}
		if err := m.Forward(p, rows); err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			if d := distance(row.Logits, want[i]); !(d < tolerance) {
				t.Fatalf("%s: logits after token %d are %.3g off, more than %g", v.Name, i, d, tolerance)
			}
		}
	}
}

// TestFamiliesComputeWhatTheirPapersSay: what is left is the half precision of keys and values.
func TestFamiliesComputeWhatTheirPapersSay(t *testing.T) {
	for name, s := range map[string]shape{
		"llama":               small,
		"llama, own output":   small.with(func(s *shape) { s.output = true }),
		"llama, rope factors": small.with(func(s *shape) { s.factors = true }),
		"llama, other base":   small.with(func(s *shape) { s.set = map[string]any{"rope.freq_base": float32(500)} }),
		"llama, linear scaling": small.with(func(s *shape) {
			s.set = map[string]any{"rope.scaling.type": "linear", "rope.scaling.factor": float32(4)}
		}),
		"llama, half of a head turns": small.with(func(s *shape) { s.headDim, s.rotary = 32, 16 }),
		"llama, no groups":            small.with(func(s *shape) { s.kvHeads = 4 }),
		"llama, one KV head for many": small.with(func(s *shape) { s.heads, s.kvHeads = 24, 1 }),
		"llama, odd sizes":            small.with(func(s *shape) { s.vocab, s.embedding, s.feedForward, s.heads, s.kvHeads = 37, 45, 50, 3, 3 }),
		"llama, biases":               small.with(func(s *shape) { s.biases = true }),
		"qwen2":                       small.with(func(s *shape) { s.arch, s.biases = "qwen2", true }),
		"qwen3":                       small.with(func(s *shape) { s.arch, s.headNorms, s.headDim = "qwen3", true, 48 }),
	} {
		t.Run(name, func(t *testing.T) { checkShape(t, s, 2e-3) })
	}
}

// TestEveryTensorTypeComputes: the rounding of activations to bytes costs some percent of logits that mean nothing.
func TestEveryTensorTypeComputes(t *testing.T) {
	for typ, tolerance := range map[gguf.Type]float64{
		gguf.F16: 2e-3, gguf.BF16: 2e-3, gguf.Q8_0: 0.05, gguf.Q4_0: 0.05, gguf.Q4_1: 0.05, gguf.Q5_0: 0.05,
		gguf.Q4_K: 0.05, gguf.Q5_K: 0.05, gguf.Q6_K: 0.05,
	} {
		t.Run(typ.String(), func(t *testing.T) {
			s := small.with(func(s *shape) { s.types = typ })
			if elems, _ := typ.Block(); elems == 256 {
				s.embedding, s.feedForward, s.headDim, s.layers = 256, 256, 64, 1
			}
			checkShape(t, s, tolerance)
		})
	}
}

// TestYaRNKeepsFastAnglesAndDividesSlowOnes checks the ends and the middle of the blend.
func TestYaRNKeepsFastAnglesAndDividesSlowOnes(t *testing.T) {
	s := small.with(func(s *shape) {
		s.headDim = 64
		s.set = map[string]any{
			"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4), "rope.scaling.original_context_length": uint32(512),
		}
	})
	r := s.load(t, Options{Threads: 1}).Config().rope
	if want := 1 + 0.1*math.Log(4); math.Abs(r.magnitude-want) > 1e-12 {
		t.Errorf("magnitude %g, want %g", r.magnitude, want)
	}
	for i, want := range map[int]float64{0: 1, 3: 1, 16: 0, 31: 0.25} {
		plain := math.Pow(10000, -float64(i)/32)
		switch ratio := r.angles[i] / plain; {
		case want > 0 && math.Abs(ratio-want) > 1e-9:
			t.Errorf("angle %d is %g of the plain one, want %g", i, ratio, want)
		case want == 0 && (ratio <= 0.25 || ratio >= 1) && i < 15:
			t.Errorf("angle %d is %g of the plain one, want a blend", i, ratio)
		}
	}
}

func TestUnsupportedModelIsRefusedByName(t *testing.T) {
	for want, s := range map[string]shape{
		`architecture "falcon" is not supported`:        small.with(func(s *shape) { s.arch = "falcon" }),
		"token_embd.weight: tensor type Q2_K":           small.with(func(s *shape) { s.types, s.embedding, s.headDim, s.feedForward = 10, 256, 64, 256 }),
		"layer 0 lacks the biases":                      small.with(func(s *shape) { s.arch = "qwen2" }),
		"blk.0.attn_q_norm.weight is missing":           small.with(func(s *shape) { s.arch = "qwen3" }),
		"blk.0.attn_q_norm.weight is not one that":      small.with(func(s *shape) { s.headNorms = true }),
		"heads of 20 elements are not supported":        small.with(func(s *shape) { s.headDim = 20 }),
		`rope scaling "longrope" is not supported`:      small.with(func(s *shape) { s.set = map[string]any{"rope.scaling.type": "longrope"} }),
		"mixtures of experts":                           small.with(func(s *shape) { s.set = map[string]any{"expert_count": uint32(8)} }),
		"4 heads cannot share 3 KV heads":               small.with(func(s *shape) { s.kvHeads = 3 }),
		"llama.block_count is 0":                        small.with(func(s *shape) { s.layers = 0 }),
		"8 rotary elements in heads of 16":              small.with(func(s *shape) { s.arch, s.biases, s.rotary = "qwen2", true, 8 }),
		"rope_freqs.weight is F32 [8]: F32 [4] is need": small.with(func(s *shape) { s.rotary, s.factors = 8, true }),
	} {
		f, err := gguf.Parse(s.file().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(f, Options{Threads: 1})
		if err == nil {
			_ = m.Close()
			t.Errorf("loaded what should be refused with %q", want)
		} else if !contains(err, want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
}

func TestMissingMetadataAndWrongShapeAreNamed(t *testing.T) {
	bare := small.with(func(s *shape) { s.layers = 1 })
	f := bare.file()
	f.Tensor("blk.1.attn_q.weight", 0, make([]byte, 4), 1)
	extra, err := gguf.Parse(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(extra, Options{Threads: 1}); !contains(err, "blk.1.attn_q.weight is not one that") {
		t.Errorf("a tensor too many: %v", err)
	}
	longer := small.file()
	longer.Set("llama.rope.freq_base", float32(math.NaN()))
	nan, err := gguf.Parse(longer.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(nan, Options{Threads: 1}); !contains(err, "llama.rope.freq_base is NaN") {
		t.Errorf("a base that is no number: %v", err)
	}
	if _, err := Load(small.parsed(t), Options{Threads: -1}); !contains(err, "-1 threads") {
		t.Errorf("negative threads: %v", err)
	}
}
