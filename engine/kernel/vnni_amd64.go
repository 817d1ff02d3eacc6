package kernel

// vnni returns the kernels of CPUs that multiply bytes in 512-bit registers; what gains nothing by
// them is as with AVX2.
func vnni() *Variant {
	v := avx2()
	v.Name, v.words = "avx512vnni", Halves
	v.swiglu, v.softmax = swigluAVX512, softmaxAVX512
	v.scores, v.values = scoresAVX512, valuesAVX512
	v.scores8, v.values64 = scores8AVX512, values64AVX512
	v.scoresQ8, v.valuesQ8 = scoresQ8AVX512, valuesQ8AVX512
	v.muls[formatU4] = []mul{{columns: 1, run: mulU4x1VNNI}, {columns: 2, run: mulU4x2VNNI}, {columns: 4, run: mulU4x4VNNI}, {columns: 8, run: mulU4x8VNNI}, {columns: 16, run: mulU4x16VNNI, many: true}}
	v.muls[formatU4K] = []mul{{columns: 1, run: mulU4Kx1VNNI}, {columns: 2, run: mulU4Kx2VNNI}, {columns: 4, run: mulU4Kx4VNNI}, {columns: 8, run: mulU4Kx8VNNI}, {columns: 16, run: mulU4Kx16VNNI, many: true}}
	v.muls[formatS8] = []mul{{columns: 1, run: mulS8x1VNNI}, {columns: 2, run: mulS8x2VNNI}, {columns: 4, run: mulS8x4VNNI}, {columns: 8, run: mulS8x8VNNI}, {columns: 16, run: mulS8x16VNNI, many: true}}
	v.muls[formatS8K] = []mul{{columns: 1, run: mulS8Kx1VNNI}, {columns: 2, run: mulS8Kx2VNNI}, {columns: 4, run: mulS8Kx4VNNI}, {columns: 8, run: mulS8Kx8VNNI}, {columns: 16, run: mulS8Kx16VNNI, many: true}}
	v.muls[formatS8H] = []mul{{columns: 1, run: mulS8Hx1VNNI}, {columns: 2, run: mulS8Hx2VNNI}, {columns: 4, run: mulS8Hx4VNNI}, {columns: 8, run: mulS8Hx8VNNI}, {columns: 16, run: mulS8Hx16VNNI, many: true}}
	return v
}

//go:noescape
func swigluAVX512(dst, gate, up *float32, n int)

//go:noescape
func softmaxAVX512(x *float32, n int) (maximum, sum float32)

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
