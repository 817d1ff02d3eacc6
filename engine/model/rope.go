package model

import (
	"math"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// ropeConfig says by which angle each pair of a head's elements turns from one position to the
// next.
type ropeConfig struct {
	halves    bool
	dims      int       // elements of a head that turn; the others stay
	angles    []float64 // of each pair, for one position
	magnitude float64   // of the turned elements (YaRN)
}

func readRope(k *keys, c Config, fam family) ropeConfig {
	r := ropeConfig{halves: fam.ropeHalves, magnitude: 1}
	r.dims = k.number("rope.dimension_count", c.HeadDim, maxWidth)
	step := 8
	if r.halves {
		step = 16 // both halves in whole vectors
	}
	if r.dims > c.HeadDim || r.dims%step != 0 {
		k.fail("%d rotary elements in heads of %d are not supported: only multiples of %d", r.dims, c.HeadDim, step)
		return r
	}
	base := k.float("rope.freq_base", 10000)
	if base <= 0 {
		k.fail("the metadata's %s.rope.freq_base is %g", k.arch, base)
		return r
	}
	for i := range r.dims / 2 {
		r.angles = append(r.angles, math.Pow(base, -2*float64(i)/float64(r.dims)))
	}
	r.divide(k)
	r.scale(k, c, base)
	return r
}

// divide applies the factors that a file may carry for each pair (Llama 3.1 and later).
func (r *ropeConfig) divide(k *keys) {
	t, ok := k.file.Tensor("rope_freqs.weight")
	if !ok {
		return
	}
	if t.Type != gguf.F32 || t.Shape[0] != len(r.angles) || len(t.Shape) != 1 {
		k.fail("tensor rope_freqs.weight is %v %v: F32 [%d] is needed", t.Type, t.Shape, len(r.angles))
		return
	}
	for i, f := range floats(t.Data) {
		if !(f > 0) {
			k.fail("tensor rope_freqs.weight holds %g", f)
			return
		}
		r.angles[i] /= float64(f)
	}
}

// scale applies the scaling that the metadata names.
func (r *ropeConfig) scale(k *keys, c Config, base float64) {
	kind := k.string("rope.scaling.type")
	factor := k.float("rope.scaling.factor", k.float("rope.scale_linear", 0))
	if factor <= 0 {
		factor = 1
	}
	switch kind {
	case "", "none", "linear":
		if kind == "none" {
			return
		}
		for i := range r.angles {
			r.angles[i] /= factor
		}
	case "yarn":
		r.yarn(k, c, base, factor)
	default:
		k.fail("rope scaling %q is not supported: none, linear and yarn are", kind)
	}
}

// yarn divides the slow angles by the factor, leaves the fast ones, and blends between: a pair is
// fast if it turns round often within the context that the model was first trained on.
func (r *ropeConfig) yarn(k *keys, c Config, base, factor float64) {
	trained := float64(k.number("rope.scaling.original_context_length", c.Context, maxTokens))
	fast := k.float("rope.scaling.yarn_beta_fast", 32)
	slow := k.float("rope.scaling.yarn_beta_slow", 1)
	extrapolation := k.float("rope.scaling.yarn_ext_factor", 1)
	pair := func(turns float64) float64 {
		return float64(r.dims) * math.Log(trained/(turns*2*math.Pi)) / (2 * math.Log(base))
	}
	low := max(0, math.Floor(pair(fast)))
	high := min(float64(r.dims-1), math.Ceil(pair(slow)))
	for i, angle := range r.angles {
		ramp := (float64(i) - low) / max(0.001, high-low)
		keep := (1 - min(1, max(0, ramp))) * extrapolation
		r.angles[i] = angle/factor*(1-keep) + angle*keep
	}
	r.magnitude = k.float("rope.scaling.attn_factor", 1)
	if extrapolation != 0 {
		r.magnitude *= 1 + 0.1*math.Log(factor)
	}
}

// tables writes the factors of one position: cosines and sines for every element that turns, the
// sine of a pair's first element with its sign changed. Those of the queries hold their scale.
func (r *ropeConfig) tables(position int, queryScale float32, keyCos, keySin, queryCos, querySin []float32) {
	for i, angle := range r.angles {
		sin, cos := math.Sincos(float64(position) * angle)
		s, c := float32(sin*r.magnitude), float32(cos*r.magnitude)
		first, second := 2*i, 2*i+1
		if r.halves {
			first, second = i, i+len(r.angles)
		}
		keyCos[first], keyCos[second] = c, c
		keySin[first], keySin[second] = -s, s
		queryCos[first], queryCos[second] = c*queryScale, c*queryScale
		querySin[first], querySin[second] = -s*queryScale, s*queryScale
	}
}
