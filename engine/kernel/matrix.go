package kernel

import (
	"fmt"
	"unsafe"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// Matrix is a weight matrix laid out for the kernels.
type Matrix struct {
	Rows, Cols int
	// Fine asks for activations of twice the digits: for the few weights whose rounding errors the
	// rest of the model multiplies. It matters for weights of four bits only.
	Fine   bool
	source gguf.Type
	format format
	geometry
	blocks int // of a row
	data   []byte
}

// NewMatrix describes a matrix of a tensor's type. It has no weights yet: give it Bytes of memory
// with SetMemory, then fill its panels with Pack.
func NewMatrix(t gguf.Type, rows, cols int) (*Matrix, error) {
	f, err := formatOf(t)
	if err != nil {
		return nil, err
	}
	g := geometries[f]
	if elems, _ := t.Block(); cols%elems != 0 {
		return nil, fmt.Errorf("rows of %d elements cannot be cut into %v blocks of %d", cols, t, elems)
	}
	return &Matrix{Rows: rows, Cols: cols, source: t, format: f, geometry: g, blocks: cols / g.elems}, nil
}

// Panels returns how many panels the rows make; the last may be partly empty.
func (m *Matrix) Panels() int { return (m.Rows + panelRows - 1) / panelRows }

// PanelRows returns how many rows a panel has.
func (m *Matrix) PanelRows() int { return panelRows }

// PanelBytes returns the size of a panel.
func (m *Matrix) PanelBytes() int { return m.blocks * m.blockBytes }

// Bytes returns the memory that the packed matrix takes.
func (m *Matrix) Bytes() int { return m.Panels() * m.PanelBytes() }

// Part returns the memory of panels from up to to.
func (m *Matrix) Part(from, to int) []byte {
	return m.data[from*m.PanelBytes() : to*m.PanelBytes()]
}

// SetMemory gives the matrix its memory, which must be zero, of Bytes length and aligned to 4.
func (m *Matrix) SetMemory(b []byte) { m.data = b[:m.Bytes():m.Bytes()] }

// Needs returns the quantized forms of the activations that a matrix is multiplied with; none if it
// takes floats.
func (v *Variant) Needs(m *Matrix) Forms {
	switch {
	case m.Fine && m.input == Bytes:
		return Bytes | Rest
	case m.input == Words:
		return v.words
	}
	return m.input
}

// Scratch is what one worker needs to call the kernels without allocating.
type Scratch struct {
	tile    tile
	span    span
	edge    [panelRows]float32 // results of a last panel that is partly empty
	bytes   []byte             // what a kernel keeps for itself
	token   []byte             // a token's key or value, quantized
	weights [][]float32        // attention: of each query, the scores of a span's tokens
	part    [][]float32        // attention: of each query, the values of one span
	state   []softmaxSum       // attention: of each query, over the spans so far; then of the last one
}

// Mul computes panels from up to to of the matrix times vectors first up to first+len(out) of x.
// out holds a vector of m.Rows results for each; with add the results are added to it.
func (v *Variant) Mul(s *Scratch, m *Matrix, from, to int, x *Columns, first int, out [][]float32, add bool) {
	full := m.Rows / panelRows
	edge := to > full
	to = min(to, full)
	t := &s.tile
	t.blocks, t.scratch = m.blocks, s.room(m)
	for at := 0; at < len(out) && from < to; {
		t.w, t.panels = &m.data[from*m.PanelBytes()], to-from
		k := v.mulFor(m.format, len(out)-at)
		t.columns = min(k.columns, len(out)-at)
		if k.many {
			t.columns = (len(out) - at) / k.columns * k.columns
			t.vectors, t.offset = &out[at], 4*from*panelRows
		}
		for j := range k.columns {
			t.out[j] = &out[at+min(j, t.columns-1)][from*panelRows] // a missing column repeats the last
		}
		v.mulTile(k, t, m, x, first+at, add)
		at += t.columns
	}
	for k := 0; k < len(out) && edge; k++ {
		t.w, t.panels, t.columns, t.out[0] = &m.data[full*m.PanelBytes()], 1, 1, &s.edge[0]
		v.mulTile(v.mulFor(m.format, 1), t, m, x, first+k, false)
		results := out[k][full*panelRows : m.Rows]
		for i := range results {
			if add {
				results[i] += s.edge[i]
			} else {
				results[i] = s.edge[i]
			}
		}
	}
}

// mulFor returns the last kernel of many columns that these fill and are enough for; else the smallest that takes
// them, or the largest that they fill.
func (v *Variant) mulFor(f format, columns int) *mul {
	all := v.muls[f]
	for i := len(all) - 1; all[i].many; i-- {
		if max(all[i].columns, all[i].least) <= columns {
			return &all[i]
		}
	}
	best := &all[0]
	for i := 1; i < len(all) && !all[i].many && best.columns < columns; i++ {
		best = &all[i]
	}
	return best
}

// room returns the memory into which a kernel may unpack a panel of the matrix.
func (s *Scratch) room(m *Matrix) *byte {
	const sums, scales = 2 << 10, 2 * panelRows * 4
	if n := sums + m.blocks*(panelRows*BlockElems+scales); m.input != 0 && len(s.bytes) < n {
		s.bytes = aligned(n)
	}
	return unsafe.SliceData(s.bytes)
}

// lineBytes is how much of memory a CPU's cache keeps together.
const lineBytes = 64

// aligned returns n bytes that begin where a line of the CPU's cache does.
func aligned(n int) []byte {
	b := make([]byte, n+lineBytes)
	at := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (lineBytes - 1)
	return b[at : at+n : at+n]
}

// mulTile multiplies a tile with some vectors, in all their digits.
func (v *Variant) mulTile(k *mul, t *tile, m *Matrix, x *Columns, first int, add bool) {
	t.add = 0
	if add {
		t.add = 1
	}
	needs := v.Needs(m)
	form := needs &^ Rest
	t.stride = x.n / BlockElems * form.blockBytes()
	for {
		for j := range k.columns {
			t.x[j] = x.column(first+min(j, t.columns-1), form)
		}
		k.run(t)
		if x = x.rest; x == nil || needs&Rest == 0 {
			return
		}
		t.add = 1
	}
}
