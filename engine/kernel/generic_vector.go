package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// lanes is how many partial sums the vector functions keep, on every machine, so that their
// results do not depend on it.
const lanes = 8

// sumLanes adds partial sums in the order in which a vector register is folded.
func sumLanes(a *[lanes]float32) float32 {
	return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
}

// quantizeGo rounds each block of 32 floats to multiples of its largest absolute over 127.
func quantizeGo(dst *byte, src *float32, blocks int) {
	roundBlocks(dst, src, blocks, Bytes, 127)
	size := Bytes.blockBytes()
	for out := unsafe.Slice(dst, blocks*size); len(out) > 0; out = out[size:] {
		var sum int32
		for e := range BlockElems {
			sum += Bytes.integer(out, e)
		}
		binary.LittleEndian.PutUint32(out[BlockElems+8:], uint32(-128*sum))
	}
}

// quantizeWordsGo does so over mostWords.
func quantizeWordsGo(dst *byte, src *float32, blocks int) {
	roundBlocks(dst, src, blocks, Words, mostWords)
}

// quantizeHalvesGo makes the same words.
func quantizeHalvesGo(dst *byte, src *float32, blocks int) {
	roundBlocks(dst, src, blocks, Halves, mostWords)
	size := Halves.blockBytes()
	for out := unsafe.Slice(dst, blocks*size); len(out) > 0; out = out[size:] {
		var sums [2]int32
		for e := range BlockElems {
			sums[e*2/BlockElems] += Halves.integer(out, e)
		}
		binary.LittleEndian.PutUint32(out[size-8:], uint32(128*(sums[0]+sums[1])))
		binary.LittleEndian.PutUint32(out[size-4:], uint32(128*sums[1]))
	}
}

func roundBlocks(dst *byte, src *float32, blocks int, form Forms, most float32) {
	size := form.blockBytes()
	out, in := unsafe.Slice(dst, blocks*size), unsafe.Slice(src, blocks*BlockElems)
	for b := range blocks {
		x, q := in[b*BlockElems:(b+1)*BlockElems], out[b*size:(b+1)*size]
		var largest, scale, inverse float32
		for _, f := range x {
			largest = max(largest, float32(math.Abs(float64(f))))
		}
		if largest >= 1e-30 { // below, the inverse would overflow
			scale, inverse = largest/most, most/largest
		}
		var sum int32
		for i, f := range x {
			n := int32(math.RoundToEven(float64(f * inverse)))
			switch form {
			case Words:
				binary.LittleEndian.PutUint16(q[2*i:], uint16(int16(n)))
			case Halves:
				q[i], q[BlockElems+i] = byte((n-int32(int8(n)))>>8), byte(n)
			default:
				q[i] = byte(n)
			}
			sum += n
		}
		at := form.scaleAt()
		binary.LittleEndian.PutUint32(q[at:], math.Float32bits(scale))
		binary.LittleEndian.PutUint32(q[at+4:], math.Float32bits(float32(sum)*scale))
	}
}

// residueGo writes what quantization rounded away.
func residueGo(dst, src *float32, quants *byte, blocks int) {
	out, in := unsafe.Slice(dst, blocks*BlockElems), unsafe.Slice(src, blocks*BlockElems)
	size := Bytes.blockBytes()
	for b := range blocks {
		q := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(quants), b*size)), size)
		scale, _ := Bytes.scale(q)
		for i := b * BlockElems; i < (b+1)*BlockElems; i++ {
			out[i] = fma(-float32(int8(q[i%BlockElems])), scale, in[i])
		}
	}
}

func rmsNormGo(dst, x, weight *float32, n int, epsilon float32) {
	out, in, w := unsafe.Slice(dst, n), unsafe.Slice(x, n), unsafe.Slice(weight, n)
	var squares [lanes]float32
	for i, f := range in {
		squares[i%lanes] = fma(f, f, squares[i%lanes])
	}
	root := float32(math.Sqrt(float64(sumLanes(&squares)/float32(n) + epsilon)))
	scale := 1 / root
	for i, f := range in {
		t := f * scale
		out[i] = t * w[i]
	}
}

// expGo returns e to the x for x between -87 and 88, and the bound's value beyond.
func expGo(x float32) float32 {
	x = max(min(x, 88), -87)
	n := float32(math.RoundToEven(float64(x * 1.44269504088896341)))
	x = fma(-n, 0.693359375, x)
	x = fma(-n, -2.12194440e-4, x)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		p = fma(p, x, c)
	}
	p = fma(p, x*x, x) + 1
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23)
}

func swigluGo(dst, gate, up *float32, n int) {
	out, g, u := unsafe.Slice(dst, n), unsafe.Slice(gate, n), unsafe.Slice(up, n)
	for i := range out {
		s := g[i] / (1 + expGo(-g[i]))
		out[i] = s * u[i]
	}
}

// softmaxGo replaces each number by e to its difference from the largest, and returns the
// largest and the sum.
func softmaxGo(x *float32, n int) (maximum, sum float32) {
	in := unsafe.Slice(x, n)
	maximum = in[0]
	for _, f := range in {
		maximum = max(maximum, f)
	}
	var sums [lanes]float32
	for i, f := range in {
		d := f - maximum
		in[i] = 0
		if d >= -87 {
			in[i] = expGo(d)
		}
		sums[i%lanes] += in[i]
	}
	return maximum, sumLanes(&sums)
}

// ropePairsGo turns neighbouring elements of each head by their position's angles. cos and sin
// hold one factor for every element, the sine of a pair's first with its sign changed.
func ropePairsGo(x, cos, sin *float32, heads, stride, n int) {
	c, s := unsafe.Slice(cos, n), unsafe.Slice(sin, n)
	for h := range heads {
		in := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(x), 4*h*stride)), n)
		for i := 0; i < n; i += 2 {
			a, b := in[i], in[i+1]
			in[i], in[i+1] = fma(a, c[i], b*s[i]), fma(b, c[i+1], a*s[i+1])
		}
	}
}

// ropeHalvesGo is ropePairsGo for pairs of an element of the first half and one of the second.
func ropeHalvesGo(x, cos, sin *float32, heads, stride, n int) {
	c, s := unsafe.Slice(cos, n), unsafe.Slice(sin, n)
	for h := range heads {
		in := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(x), 4*h*stride)), n)
		for i, j := 0, n/2; j < n; i, j = i+1, j+1 {
			a, b := in[i], in[j]
			in[i], in[j] = fma(a, c[i], b*s[i]), fma(b, c[j], a*s[j])
		}
	}
}

// largestHalf bounds what is stored as half-precision, so that no key or value is infinite.
const largestHalf = 65504

func toF16Go(dst *uint16, src *float32, n int) {
	out, in := unsafe.Slice(dst, n), unsafe.Slice(src, n)
	for i, f := range in {
		out[i] = ToHalf(max(min(f, largestHalf), -largestHalf))
	}
}

// toF16ColumnGo is toF16Go with the results sixteen elements apart.
func toF16ColumnGo(dst *uint16, src *float32, n int) {
	out, in := unsafe.Slice(dst, (n-1)*BlockTokens+1), unsafe.Slice(src, n)
	for i, f := range in {
		out[i*BlockTokens] = ToHalf(max(min(f, largestHalf), -largestHalf))
	}
}
