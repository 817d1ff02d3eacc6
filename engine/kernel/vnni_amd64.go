package kernel

// vnni returns the kernels of CPUs that multiply bytes in 512-bit registers; what gains nothing by
// them is as with AVX2.
func vnni() *Variant {
	v := avx2()
	v.Name, v.words = "avx512vnni", Halves
	v.scores, v.values = scoresAVX512, valuesAVX512
	v.scores8, v.values64 = scores8AVX512, values64AVX512
	v.scoresQ8, v.valuesQ8 = scoresQ8AVX512, valuesQ8AVX512
	v.muls[formatU4] = []mul{{1, mulU4x1VNNI, false}, {2, mulU4x2VNNI, false}, {4, mulU4x4VNNI, false}, {8, mulU4x8VNNI, false}, {16, mulU4x16VNNI, true}}
	v.muls[formatU4K] = []mul{{1, mulU4Kx1VNNI, false}, {2, mulU4Kx2VNNI, false}, {4, mulU4Kx4VNNI, false}, {8, mulU4Kx8VNNI, false}, {16, mulU4Kx16VNNI, true}}
	v.muls[formatS8] = []mul{{1, mulS8x1VNNI, false}, {2, mulS8x2VNNI, false}, {4, mulS8x4VNNI, false}, {8, mulS8x8VNNI, false}, {16, mulS8x16VNNI, true}}
	v.muls[formatS8K] = []mul{{1, mulS8Kx1VNNI, false}, {2, mulS8Kx2VNNI, false}, {4, mulS8Kx4VNNI, false}, {8, mulS8Kx8VNNI, false}, {16, mulS8Kx16VNNI, true}}
	v.muls[formatS8H] = []mul{{1, mulS8Hx1VNNI, false}, {2, mulS8Hx2VNNI, false}, {4, mulS8Hx4VNNI, false}, {8, mulS8Hx8VNNI, false}, {16, mulS8Hx16VNNI, true}}
	return v
}

//go:noescape
func scoresAVX512(s *span)

//go:noescape
func valuesAVX512(s *span)

//go:noescape
func scores8AVX512(s *span)

//go:noescape
func values64AVX512(s *span)

//go:noescape
func scoresQ8AVX512(s *span)

//go:noescape
func valuesQ8AVX512(s *span)

//go:noescape
func mulU4x1VNNI(t *tile)

//go:noescape
func mulU4x2VNNI(t *tile)

//go:noescape
func mulU4x4VNNI(t *tile)

//go:noescape
func mulU4x8VNNI(t *tile)

//go:noescape
func mulU4x16VNNI(t *tile)

//go:noescape
func mulU4Kx1VNNI(t *tile)

//go:noescape
func mulU4Kx2VNNI(t *tile)

//go:noescape
func mulU4Kx4VNNI(t *tile)

//go:noescape
func mulU4Kx8VNNI(t *tile)

//go:noescape
func mulU4Kx16VNNI(t *tile)

//go:noescape
func mulS8x1VNNI(t *tile)

//go:noescape
func mulS8x2VNNI(t *tile)

//go:noescape
func mulS8x4VNNI(t *tile)

//go:noescape
func mulS8x8VNNI(t *tile)

//go:noescape
func mulS8x16VNNI(t *tile)

//go:noescape
func mulS8Kx1VNNI(t *tile)

//go:noescape
func mulS8Kx2VNNI(t *tile)

//go:noescape
func mulS8Kx4VNNI(t *tile)

//go:noescape
func mulS8Kx8VNNI(t *tile)

//go:noescape
func mulS8Kx16VNNI(t *tile)

//go:noescape
func mulS8Hx1VNNI(t *tile)

//go:noescape
func mulS8Hx2VNNI(t *tile)

//go:noescape
func mulS8Hx4VNNI(t *tile)

//go:noescape
func mulS8Hx8VNNI(t *tile)

//go:noescape
func mulS8Hx16VNNI(t *tile)
