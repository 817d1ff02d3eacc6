package kernel

import (
	"math"
	"runtime"
	"unsafe"
)

// plain returns the kernels in Go, which every machine can run and every other variant equals.
func plain() *Variant {
	v := &Variant{
		Name: "go", words: Words,
		quantize: quantizeGo, quantizeWords: quantizeWordsGo, quantizeHalves: quantizeHalvesGo, residue: residueGo, rmsNorm: rmsNormGo, swiglu: swigluGo, softmax: softmaxGo,
		ropePairs: ropePairsGo, ropeHalves: ropeHalvesGo,
		toF16: toF16Go, toF16Column: toF16ColumnGo,
		scores: scoresGo, values: valuesGo, scoresQ8: scoresQ8Go, valuesQ8: valuesQ8Go,
		pause:    func(int) { runtime.Gosched() },
		prefetch: func(*byte, int) {},
	}
	for f := range format(formats) {
		v.muls[f] = []mul{{columns: maxColumns, run: func(t *tile) {
			for j := range t.columns {
				mulGo(t, f, j)
			}
		}}}
	}
	return v
}

// fma returns a*b+c, rounded once. The product of two floats is exact in double precision; the
// sum is rounded to odd there, so that rounding it again to a float is as good as rounding once.
func fma(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	t := s - p
	if lost := (p - (s - t)) + (q - t); (lost < 0 || lost > 0) && math.Float64bits(s)&1 == 0 {
		s = math.Float64frombits(roundToOdd(s, lost))
	}
	return float32(s)
}

// roundToOdd returns the bits of s moved one step towards what was lost, if that is not zero: s
// is even, so its neighbour is odd.
func roundToOdd(s, lost float64) uint64 {
	bits := math.Float64bits(s)
	if (lost > 0) == (s > 0) {
		return bits + 1
	}
	return bits - 1
}

// mulGo computes column j of a tile.
func mulGo(t *tile, f format, j int) {
	g := geometries[f]
	size := t.blocks * g.blockBytes
	weights := unsafe.Slice(t.w, t.panels*size)
	out := unsafe.Slice(t.out[j], t.panels*panelRows)
	for p := range t.panels {
		panel := weights[p*size : (p+1)*size]
		for r := range panelRows {
			var sum float32
			if g.input == 0 {
				sum = rowFloat(panel, f, r, unsafe.Slice((*float32)(unsafe.Pointer(t.x[j])), t.blocks))
			} else {
				sum = rowQuantized(panel, f, r, unsafe.Slice(t.x[j], t.blocks*g.input.blockBytes()))
			}
			if t.add != 0 {
				sum += out[p*panelRows+r]
			}
			out[p*panelRows+r] = sum
		}
	}
}

func rowQuantized(panel []byte, f format, r int, x []byte) (sum float32) {
	g, part := geometries[f], BlockElems
	if f == formatS8H {
		part = BlockElems / 2 // elements that share a scale
	}
	for b := 0; b < len(panel)/g.blockBytes; b++ {
		w, a := panel[b*g.blockBytes:], x[b*g.input.blockBytes():]
		factor, total := g.input.scale(a)
		for from := 0; from < BlockElems; from += part {
			var dot int32
			for e := from; e < from+part; e++ {
				dot += f.integer(w, r, e) * g.input.integer(a, e)
			}
			scale, minimum := f.scales(w, r, from)
			sum = fma(float32(dot), scale*factor, sum)
			if f != formatS8 && f != formatS8H {
				sum = fma(minimum, total, sum)
			}
		}
	}
	return sum
}

func rowFloat(panel []byte, f format, r int, x []float32) (sum float32) {
	size := geometries[f].blockBytes
	for e, a := range x {
		sum = fma(float(panel[e*size:(e+1)*size], f, r), a, sum)
	}
	return sum
}
