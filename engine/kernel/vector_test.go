package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// ranges are the sizes of numbers that a forward pass can meet, and beyond.
var ranges = []float64{0, 1e-42, 1e-20, 1e-3, 1, 30, 1e4, 1e15}

// eachRange runs a test on n random numbers of every size, for every variant; want is what plain
// Go gives, once it has been found right.
func eachRange(t *testing.T, n int, test func(t *testing.T, v *Variant, x []float32) []float32) {
	r := rand.New(rand.NewPCG(11, uint64(n)))
	for _, size := range ranges {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * size)
		}
		want := test(t, plain(), append([]float32(nil), x...))
		for _, v := range Variants() {
			got := test(t, v, append([]float32(nil), x...))
			equalBits(t, fmt.Sprintf("%s, %d numbers of size %g", v.Name, n, size), got, want)
		}
	}
}

func near(t *testing.T, what string, got float32, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance) {
		t.Fatalf("%s is %g, want %g", what, got, want)
	}
}

func TestNormIsRight(t *testing.T) {
	for _, n := range []int{1, 7, 8, 13, 64, 576} {
		weight := make([]float32, n)
		for i := range weight {
			weight[i] = float32(i%5) - 1.5
		}
		eachRange(t, n, func(t *testing.T, v *Variant, x []float32) []float32 {
			got := make([]float32, n)
			v.RMSNorm(got, x, weight, 1e-5)
			sum := 0.0
			for _, f := range x {
				sum += float64(f) * float64(f)
			}
			for i, f := range x {
				want := float64(f) / math.Sqrt(sum/float64(n)+1e-5) * float64(weight[i])
				near(t, fmt.Sprintf("%s: norm %d of %d", v.Name, i, n), got[i], want, 1e-5*math.Abs(want)+1e-30)
			}
			return got
		})
	}
}

func TestGateIsRight(t *testing.T) {
	for _, n := range []int{1, 8, 11, 32, 1536} {
		eachRange(t, n, func(t *testing.T, v *Variant, x []float32) []float32 {
			up := make([]float32, n)
			for i := range up {
				up[i] = float32(i%7) - 3
			}
			got := make([]float32, n)
			v.SwiGLU(got, x, up)
			for i, f := range x {
				want := float64(f) / (1 + math.Exp(-float64(f))) * float64(up[i])
				near(t, fmt.Sprintf("%s: gate of %g", v.Name, f), got[i], want, 1e-6*math.Abs(want)+1e-20)
			}
			return got
		})
	}
}

func TestSoftmaxIsRight(t *testing.T) {
	for _, n := range []int{8, 16, 512} {
		eachRange(t, n, func(t *testing.T, v *Variant, x []float32) []float32 {
			x[n-1] = float32(math.Inf(-1)) // a token that is not seen
			got := append([]float32(nil), x...)
			maximum, sum := v.softmax(&got[0], n)
			largest, total := x[0], 0.0
			for _, f := range x {
				largest = max(largest, f)
			}
			for i, f := range x {
				want := math.Exp(float64(f - largest))
				total += want
				near(t, fmt.Sprintf("%s: weight of %g below %g", v.Name, f, largest), got[i], want, 1e-6*want+1e-37)
			}
			near(t, v.Name+": maximum", maximum, float64(largest), 0)
			near(t, v.Name+": sum", sum, total, 1e-5*total)
			return append(got, maximum, sum)
		})
	}
}

func TestQuantizedActivationsAreNear(t *testing.T) {
	eachRange(t, 256, func(t *testing.T, v *Variant, x []float32) []float32 {
		c := NewColumns(256, 1, Bytes|Rest|Words|Halves)
		copy(c.Vector(0), x)
		v.Quantize(c, 0, 0, 256)
		var got []float32
		for b := range 8 {
			largest := 0.0
			for _, f := range x[32*b : 32*(b+1)] {
				largest = max(largest, math.Abs(float64(f)))
			}
			for i := 32 * b; i < 32*(b+1); i++ {
				bytes, words := dequantized(c, Bytes, i), dequantized(c, Words, i)
				both := bytes + dequantized(c.rest, Bytes, i)
				halves := dequantized(c, Halves, i)
				near(t, v.Name+": bytes", float32(bytes), float64(x[i]), largest/253+1e-30)
				near(t, v.Name+": bytes and their rest", float32(both), float64(x[i]), largest/64000+2e-30)
				near(t, v.Name+": words", float32(words), float64(x[i]), largest/65000+1e-30)
				near(t, v.Name+": halves", float32(halves), float64(float32(words)), 0)
				got = append(got, float32(bytes), float32(both), float32(words))
			}
		}
		return got
	})
}

// dequantized returns element i of the first vector from a quantized form, having checked that
// its block's sum is right.
func dequantized(c *Columns, form Forms, i int) float64 {
	block := unsafe.Slice(c.block(form, i), form.blockBytes())
	scale, total := form.scale(block)
	sum := 0
	for e := range BlockElems {
		sum += int(form.integer(block, e))
	}
	if float32(sum)*scale != total {
		return math.NaN()
	}
	return float64(form.integer(block, i%BlockElems)) * float64(scale)
}

func TestRopeTurnsPairs(t *testing.T) {
	const dim, turned, heads = 64, 48, 3
	cos, sin := make([]float32, turned), make([]float32, turned)
	for _, halves := range []bool{false, true} {
		pairs := make([][2]int, turned/2)
		for i := range pairs {
			pairs[i] = [2]int{2 * i, 2*i + 1}
			if halves {
				pairs[i] = [2]int{i, i + turned/2}
			}
			s, c := math.Sincos(float64(i) * 0.37)
			cos[pairs[i][0]], cos[pairs[i][1]] = float32(c), float32(c)
			sin[pairs[i][0]], sin[pairs[i][1]] = float32(-s), float32(s)
		}
		eachRange(t, heads*dim, func(t *testing.T, v *Variant, x []float32) []float32 {
			got := append([]float32(nil), x...)
			v.Rope(got, cos, sin, heads, dim, halves)
			for h := range heads {
				in, out := x[h*dim:(h+1)*dim], got[h*dim:(h+1)*dim]
				equalBits(t, "the rest of a head", out[turned:], in[turned:])
				for i, p := range pairs {
					s, c := math.Sincos(float64(i) * 0.37)
					a, b := float64(in[p[0]]), float64(in[p[1]])
					size := 1e-6*(math.Abs(a)+math.Abs(b)) + 1e-44
					near(t, v.Name+": first of a pair", out[p[0]], a*c-b*s, size)
					near(t, v.Name+": second of a pair", out[p[1]], a*s+b*c, size)
				}
			}
			return got
		})
	}
}

func TestHalfPrecisionRoundsAsTheCPUDoes(t *testing.T) {
	for h := range 1 << 16 {
		f := FromHalf(uint16(h))
		if back := ToHalf(f); back != uint16(h) && f == f {
			t.Fatalf("%04x is %g, which is %04x", h, f, back)
		}
	}
	r := rand.New(rand.NewPCG(12, 13))
	x := []float32{0, 65504, 65519.996, 65520, 1e30, 6.1e-5, 5.96e-8, 2.98e-8, 2.9802322e-8, 2.98023242e-8, 1e-45}
	for range 1 << 12 {
		x = append(x, math.Float32frombits(r.Uint32()&0xbfffffff), float32(r.NormFloat64()))
	}
	for len(x)%8 != 0 {
		x = append(x, -1)
	}
	want := make([]uint16, len(x))
	toF16Go(&want[0], &x[0], len(x))
	for _, v := range Variants() {
		got, column := make([]uint16, len(x)), make([]uint16, len(x)*BlockTokens)
		v.toF16(&got[0], &x[0], len(x))
		v.toF16Column(&column[0], &x[0], len(x))
		for i := range x {
			if got[i] != want[i] || column[i*BlockTokens] != want[i] {
				t.Fatalf("%s: %g (%08x) becomes %04x and %04x, want %04x", v.Name, x[i], math.Float32bits(x[i]), got[i], column[i*BlockTokens], want[i])
			}
		}
	}
}
