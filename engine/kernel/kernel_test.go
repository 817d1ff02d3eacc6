package kernel

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"github.com/semantic-pod/semantic/engine/gguf"
)

var types = []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q5_0, gguf.Q4_0, gguf.Q4_1, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K}

func TestMachineRunsAnAssemblyVariant(t *testing.T) {
	names := ""
	for _, v := range Variants() {
		names += " " + v.Name
	}
	t.Logf("variants:%s", names)
	if v := Variants(); v[len(v)-1].Name != "go" {
		t.Errorf("the last variant is %s, want the one in plain Go", v[len(v)-1].Name)
	}
}

// inputs are activations of every kind that a kernel can meet.
var inputs = map[string]func(r *rand.Rand, i int) float32{
	"normal":   func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64()) },
	"zero":     func(*rand.Rand, int) float32 { return 0 },
	"denormal": func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 1e-40) },
	"tiny":     func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 1e-30) },
	"large":    func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 1e15) },
	"outlier": func(r *rand.Rand, i int) float32 {
		if i%97 == 0 {
			return 1e4
		}
		return float32(r.NormFloat64() * 1e-3)
	},
	"zero blocks": func(r *rand.Rand, i int) float32 {
		if i/32%2 == 0 {
			return 0
		}
		return float32(r.NormFloat64())
	},
	"extreme": func(r *rand.Rand, i int) float32 { return float32(1 - 2*(i&1)) },
}

func columns(n, count int, fill func(int) float32) *Columns {
	c := NewColumns(n, count, Bytes|Rest|Words|Halves)
	for i := range count {
		for j := range n {
			c.Vector(i)[j] = fill(i*n + j)
		}
	}
	return c
}

// tensorBytes returns random data of a type whose scales are finite.
func tensorBytes(r *rand.Rand, t gguf.Type, n int) []byte {
	elems, size := t.Block()
	b := make([]byte, n/elems*size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for at := 0; at < len(b); at += size {
		switch t {
		case gguf.F32:
			binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(r.NormFloat64())))
		case gguf.BF16:
			binary.LittleEndian.PutUint16(b[at:], uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
		case gguf.Q6_K:
			binary.LittleEndian.PutUint16(b[at+208:], ToHalf(float32(r.NormFloat64())))
		case gguf.Q4_1, gguf.Q4_K, gguf.Q5_K:
			binary.LittleEndian.PutUint16(b[at+2:], ToHalf(float32(r.NormFloat64())))
			fallthrough
		default:
			binary.LittleEndian.PutUint16(b[at:], ToHalf(float32(r.NormFloat64())))
		}
	}
	return b
}

func packed(t testing.TB, typ gguf.Type, rows, cols int, data []byte) *Matrix {
	m, err := NewMatrix(typ, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	m.SetMemory(make([]byte, m.Bytes()))
	m.Pack(data, 0, m.Panels())
	return m
}

// unpacked returns the weights of a matrix, row after row.
func unpacked(m *Matrix) []float32 {
	w := make([]float32, m.Rows*m.Cols)
	for r := range m.Rows {
		m.Row(w[r*m.Cols:], r)
	}
	return w
}

// seen returns the activations of a column as a matrix sees them: quantized, if it asks for that.
func (c *Columns) seen(m *Matrix, col int) []float64 {
	out := make([]float64, m.Cols)
	for e := range out {
		out[e] = float64(c.Vector(col)[e])
		if m.input != 0 {
			block := unsafe.Slice(c.block(m.input, col*c.n+e), m.input.blockBytes())
			scale, _ := m.input.scale(block)
			out[e] = float64(m.input.integer(block, e%BlockElems)) * float64(scale)
		}
	}
	return out
}

// truth multiplies in double precision. The magnitude is that of the terms before they cancel.
func truth(m *Matrix, weights []float32, x []float64, row int) (sum, magnitude float64) {
	panel := m.data[row/panelRows*m.PanelBytes():]
	low := float32(0)
	for e, a := range x {
		w := float64(weights[row*m.Cols+e])
		if m.input != 0 && e%BlockElems == 0 {
			_, low = m.format.scales(panel[e/BlockElems*m.blockBytes:], row%panelRows, 0)
		}
		sum += w * a
		magnitude += (math.Abs(w) + 2*math.Abs(float64(low))) * math.Abs(a)
	}
	return sum, magnitude
}

func TestMatrixTimesBatchIsRightForEveryTypeSizeAndInput(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range types {
		for _, shape := range [][3]int{{1, 32, 1}, {7, 64, 2}, {8, 32, 3}, {17, 96, 4}, {33, 256, 5}, {9, 576, 9}, {40, 64, 39}, {33, 32, 8}, {33, 96, 17}, {33, 160, 24}} {
			rows, cols, count := shape[0], shape[1], shape[2]
			if elems, _ := typ.Block(); cols%elems != 0 {
				cols = (cols + elems - 1) / elems * elems
			}
			m := packed(t, typ, rows, cols, tensorBytes(r, typ, rows*cols))
			for name, fill := range inputs {
				what := fmt.Sprintf("%v %dx%d, %d columns of %s", typ, rows, cols, count, name)
				checkProduct(t, what, m, columns(cols, count, func(i int) float32 { return fill(r, i) }), count)
			}
		}
	}
}

func checkProduct(t *testing.T, what string, m *Matrix, x *Columns, count int) {
	for _, v := range Variants() {
		for i := range count {
			v.Quantize(x, i, 0, m.Cols/BlockElems*BlockElems)
		}
		out := columns(m.Rows, count, func(int) float32 { return 1 })
		s := NewScratch(16)
		v.Mul(s, m, 0, m.Panels(), x, 0, out.Vectors(0, count), true)
		weights := unpacked(m)
		for col := range count {
			seen := x.seen(m, col)
			for row := range m.Rows {
				want, magnitude := truth(m, weights, seen, row)
				got := float64(out.Vector(col)[row])
				if diff := math.Abs(got - 1 - want); !(diff <= 1e-5*(magnitude+1)) {
					t.Fatalf("%s, %s: row %d of column %d is %g, want %g", v.Name, what, row, col, got, want+1)
				}
			}
		}
	}
}

func TestPackedWeightsAreThoseOfTheFile(t *testing.T) {
	data, err := os.ReadFile("testdata/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Type, Data, Floats string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	byName := map[string]gguf.Type{}
	for _, typ := range types {
		byName[typ.String()] = typ
	}
	for _, c := range cases {
		src, want := unhex(t, c.Data), unhex(t, c.Floats)
		m := packed(t, byName[c.Type], 2, len(want)/8, src)
		row := make([]float32, m.Cols)
		for r := range 2 {
			m.Row(row, r)
			for i, got := range row {
				f := float32At(want, 4*(r*m.Cols+i))
				if math.Abs(float64(got-f)) > 1e-6*math.Abs(float64(f))+1e-9 {
					t.Fatalf("%s: element %d of row %d is %g, want %g", c.Type, i, r, got, f)
				}
			}
		}
	}
}

func float32At(b []byte, at int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryVariantGivesTheBitsOfPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, typ := range types {
		for _, cols := range []int{512, 160} { // an even and, where a type allows it, an odd number of blocks
			if elems, _ := typ.Block(); cols%elems != 0 {
				cols = elems
			}
			m := packed(t, typ, 37, cols, tensorBytes(r, typ, 37*cols))
			m.Fine = true
			x := columns(cols, 22, func(int) float32 { return float32(r.NormFloat64()) })
			var want []float32
			for _, v := range append([]*Variant{plain()}, Variants()...) {
				for i := range 22 {
					v.Quantize(x, i, 0, cols)
				}
				out := NewColumns(37, 22, 0)
				v.Mul(NewScratch(16), m, 0, m.Panels(), x, 0, out.Vectors(0, 22), false)
				if want == nil {
					want = out.floats
				}
				equalBits(t, fmt.Sprintf("%v of %d columns, %s", typ, cols, v.Name), out.floats, want)
			}
		}
	}
}

func TestColumnHasTheSameBitsInEveryBatch(t *testing.T) {
	const most = 51
	r := rand.New(rand.NewPCG(5, 6))
	for _, v := range Variants() {
		for _, typ := range types {
			for _, fine := range []bool{false, true} {
				m := packed(t, typ, 56, 256, tensorBytes(r, typ, 56*256))
				m.Fine = fine
				x := columns(256, most, func(int) float32 { return float32(r.NormFloat64()) })
				for i := range most {
					v.Quantize(x, i, 0, 256)
				}
				s := NewScratch(16)
				alone := NewColumns(m.Rows, most, 0)
				for i := range most {
					v.Mul(s, m, 0, m.Panels(), x, i, alone.Vectors(i, i+1), false)
				}
				for _, count := range []int{2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 32, 37, most} {
					out := NewColumns(m.Rows, most, 0)
					v.Mul(s, m, 0, 1, x, most-count, out.Vectors(most-count, most), false)
					v.Mul(s, m, 1, m.Panels(), x, most-count, out.Vectors(most-count, most), false)
					at := (most - count) * out.n
					equalBits(t, fmt.Sprintf("%v %s: %d columns, fine %v", typ, v.Name, count, fine), out.floats[at:], alone.floats[at:])
				}
			}
		}
	}
}

func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: number %d is %g (%08x), want %g (%08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}
