package kernel

import "golang.org/x/sys/cpu"

// native returns the assembly variants that this CPU can run, the best first.
func native() []*Variant {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasAVX || !cpuHasF16C() {
		return nil
	}
	all := []*Variant{avx2()}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		all = append([]*Variant{vnni()}, all...)
		if x.HasAMXTile && x.HasAMXInt8 && amxAllowed() {
			all = append([]*Variant{amx()}, all...)
		}
	}
	return all
}

func avx2() *Variant {
	v := &Variant{
		Name: "avx2", words: Words,
		quantize: quantizeAVX2, quantizeWords: quantizeWordsAVX2, quantizeHalves: quantizeHalvesAVX2, residue: residueAVX2, rmsNorm: rmsNormAVX2, swiglu: swigluAVX2, softmax: softmaxAVX2,
		ropePairs: ropePairsAVX2, ropeHalves: ropeHalvesAVX2,
		toF16: toF16AVX2, toF16Column: toF16ColumnAVX2,
		scores: scoresAVX2, values: valuesAVX2, scoresQ8: scoresQ8AVX2, valuesQ8: valuesQ8AVX2,
		pause: pauseAMD64, prefetch: prefetchAMD64,
	}
	v.muls = [formats][]mul{
		formatU4:   {{columns: 1, run: mulU4x1AVX2}, {columns: 4, run: mulU4x4AVX2}},
		formatU4K:  {{columns: 1, run: mulU4Kx1AVX2}, {columns: 4, run: mulU4Kx4AVX2}},
		formatS8:   {{columns: 1, run: mulS8x1AVX2}, {columns: 2, run: mulS8x2AVX2}},
		formatS8K:  {{columns: 1, run: mulS8Kx1AVX2}, {columns: 2, run: mulS8Kx2AVX2}},
		formatS8H:  {{columns: 1, run: mulS8Hx1AVX2}, {columns: 2, run: mulS8Hx2AVX2}},
		formatF32:  {{columns: 1, run: mulF32x1AVX2}, {columns: 4, run: mulF32x4AVX2}},
		formatF16:  {{columns: 1, run: mulF16x1AVX2}, {columns: 4, run: mulF16x4AVX2}},
		formatBF16: {{columns: 1, run: mulBF16x1AVX2}, {columns: 4, run: mulBF16x4AVX2}},
	}
	return v
}

// cpuHasF16C asks the CPU itself, since golang.org/x/sys/cpu does not tell.
func cpuHasF16C() bool {
	_, _, ecx, _ := cpuid(1, 0)
	return ecx&(1<<29) != 0
}

func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

//go:noescape
func mulU4x4AVX2(t *tile)

//go:noescape
func mulU4x1AVX2(t *tile)

//go:noescape
func mulS8x2AVX2(t *tile)

//go:noescape
func mulS8x1AVX2(t *tile)

//go:noescape
func mulU4Kx4AVX2(t *tile)

//go:noescape
func mulU4Kx1AVX2(t *tile)

//go:noescape
func mulS8Kx2AVX2(t *tile)

//go:noescape
func mulS8Kx1AVX2(t *tile)

//go:noescape
func mulS8Hx2AVX2(t *tile)

//go:noescape
func mulS8Hx1AVX2(t *tile)

//go:noescape
func mulF32x4AVX2(t *tile)

//go:noescape
func mulF32x1AVX2(t *tile)

//go:noescape
func mulF16x4AVX2(t *tile)

//go:noescape
func mulF16x1AVX2(t *tile)

//go:noescape
func mulBF16x4AVX2(t *tile)

//go:noescape
func mulBF16x1AVX2(t *tile)

//go:noescape
func quantizeAVX2(dst *byte, src *float32, blocks int)

//go:noescape
func quantizeWordsAVX2(dst *byte, src *float32, blocks int)

//go:noescape
func quantizeHalvesAVX2(dst *byte, src *float32, blocks int)

//go:noescape
func residueAVX2(dst, src *float32, quants *byte, blocks int)

//go:noescape
func rmsNormAVX2(dst, x, weight *float32, n int, epsilon float32)

//go:noescape
func swigluAVX2(dst, gate, up *float32, n int)

//go:noescape
func softmaxAVX2(x *float32, n int) (maximum, sum float32)

//go:noescape
func ropePairsAVX2(x, cos, sin *float32, heads, stride, n int)

//go:noescape
func ropeHalvesAVX2(x, cos, sin *float32, heads, stride, n int)

//go:noescape
func toF16AVX2(dst *uint16, src *float32, n int)

//go:noescape
func toF16ColumnAVX2(dst *uint16, src *float32, n int)

//go:noescape
func scoresAVX2(s *span)

//go:noescape
func valuesAVX2(s *span)

//go:noescape
func scoresQ8AVX2(s *span)

//go:noescape
func valuesQ8AVX2(s *span)

func pauseAMD64(n int)

//go:noescape
func prefetchAMD64(p *byte, lines int)
