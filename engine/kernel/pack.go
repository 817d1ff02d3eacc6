package kernel

import (
	"encoding/binary"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// Pack lays out panels from up to to, from the tensor's data as it is in the file. Panels are
// independent of each other, so that several workers can share the work.
func (m *Matrix) Pack(src []byte, from, to int) {
	elems, size := m.source.Block()
	rowBytes := m.Cols / elems * size
	for p := from; p < to; p++ {
		panel := m.data[p*m.PanelBytes() : (p+1)*m.PanelBytes()]
		for r := range min(panelRows, m.Rows-p*panelRows) {
			m.packRow(panel, src[(p*panelRows+r)*rowBytes:][:rowBytes], r)
		}
	}
}

// packRow lays out one row, as row r of its panel.
func (m *Matrix) packRow(panel, row []byte, r int) {
	switch m.source {
	case gguf.Q4_1:
		packQ4_1(panel, row, r)
	case gguf.Q4_0:
		packQ4_0(panel, row, r)
	case gguf.Q4_K:
		packQ4_K(panel, row, r)
	case gguf.Q5_0:
		packQ5_0(panel, row, r)
	case gguf.Q5_K:
		packQ5_K(panel, row, r)
	case gguf.Q6_K:
		packQ6_K(panel, row, r)
	case gguf.Q8_0:
		packQ8_0(panel, row, r)
	case gguf.F32:
		packWords(panel, row, r)
	case gguf.F16, gguf.BF16:
		packHalves(panel, row, r)
	}
}

// A block of formatU4 holds, for i in 0..3, 64 bytes in which each row has four: the nibbles of
// its elements 4i..4i+3 (low) and 16+4i..16+4i+3 (high). The file pairs the same elements, so that
// packing moves words of four bytes. Then, for the rows 0..7 and again for 8..15, follow their
// scales and their minima: kernels of eight lanes find what belongs to either half of the rows at
// the same distance.
const (
	u4Block  = 320
	u4Scales = 256
)

// u4Scale returns where the scale of row r is; its minimum is eight numbers further on.
func u4Scale(r int) int { return u4Scales + 32*(r/8) + 2*(r%8) }

func packQ4_1(panel, row []byte, r int) {
	for len(row) > 0 {
		src, dst := row[:20], panel[:u4Block]
		copy(dst[u4Scale(r):][:2], src[:2])
		copy(dst[u4Scale(r)+16:][:2], src[2:4])
		packNibbles(dst, src[4:], r)
		row, panel = row[20:], panel[u4Block:]
	}
}

// packQ4_0 writes d*(q-8) as d*q plus a minimum of -8d, which is exact: a half-precision number
// times a power of two, saturating only where the scale itself is absurd.
func packQ4_0(panel, row []byte, r int) {
	for len(row) > 0 {
		src, dst := row[:18], panel[:u4Block]
		d := binary.LittleEndian.Uint16(src)
		binary.LittleEndian.PutUint16(dst[u4Scale(r):], d)
		binary.LittleEndian.PutUint16(dst[u4Scale(r)+16:], ToHalf(-8*FromHalf(d)))
		packNibbles(dst, src[2:], r)
		row, panel = row[18:], panel[u4Block:]
	}
}

func packNibbles(dst, src []byte, r int) {
	_, _ = src[15], dst[192+4*r+3]
	for i := range 4 {
		binary.LittleEndian.PutUint32(dst[64*i+4*r:], binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// A block of formatS8 holds, for i in 0..7, 64 bytes in which each row has its elements 4i..4i+3,
// then the rows' scales.
const (
	s8Block  = 544
	s8Scales = 512
)

func packQ8_0(panel, row []byte, r int) {
	for len(row) > 0 {
		src, dst := row[:34], panel[:s8Block]
		copy(dst[s8Scales+2*r:][:2], src[:2])
		for i := range 8 {
			binary.LittleEndian.PutUint32(dst[64*i+4*r:], binary.LittleEndian.Uint32(src[2+4*i:]))
		}
		row, panel = row[34:], panel[s8Block:]
	}
}

// packQ5_0 writes d*(q-16) as a signed byte times d.
func packQ5_0(panel, row []byte, r int) {
	for len(row) > 0 {
		src, dst := row[:22], panel[:s8Block]
		copy(dst[s8Scales+2*r:][:2], src[:2])
		high := binary.LittleEndian.Uint32(src[2:])
		for e := range 16 {
			setByte(dst, r, e, src[6+e]&15|byte(high>>e&1)<<4-16)
			setByte(dst, r, e+16, src[6+e]>>4|byte(high>>(e+16)&1)<<4-16)
		}
		row, panel = row[22:], panel[s8Block:]
	}
}

// setByte sets element e of row r of a block of signed bytes.
func setByte(block []byte, r, e int, b byte) { block[e/4*64+4*r+e%4] = b }

// packWords interleaves floats: sixteen rows' first elements, then their second, and so on.
func packWords(panel, row []byte, r int) {
	for at := 4 * r; len(row) > 0; at += 64 {
		binary.LittleEndian.PutUint32(panel[at:], binary.LittleEndian.Uint32(row))
		row = row[4:]
	}
}

func packHalves(panel, row []byte, r int) {
	for at := 2 * r; len(row) > 0; at += 32 {
		binary.LittleEndian.PutUint16(panel[at:], binary.LittleEndian.Uint16(row))
		row = row[2:]
	}
}
