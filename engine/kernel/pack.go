package kernel

import (
	"encoding/binary"
	"math"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// Pack lays out panels from up to to, from the tensor's data as it is in the file. Panels are
// independent of each other, so that several workers can share the work.
func (m *Matrix) Pack(src []byte, from, to int) {
	elems, size := m.source.Block()
	rowBytes := m.Cols / elems * size
	for p := from; p < to; p++ {
		panel := m.data[p*m.PanelBytes() : (p+1)*m.PanelBytes()]
		for r := 0; r < min(panelRows, m.Rows-p*panelRows); r += 2 {
			row := src[(p*panelRows+r)*rowBytes:]
			next := row // a last row without a partner is there twice: of what is behind it nobody reads a result
			if p*panelRows+r+1 < m.Rows {
				next = row[rowBytes:]
			}
			m.packRows(panel, row[:rowBytes], next[:rowBytes], r)
		}
	}
}

// packRows lays out two rows, as rows r and r+1 of their panel. The types of the default models are laid
// out in eight bytes that lie together instead of twice four: they are there the sooner.
func (m *Matrix) packRows(panel, row, next []byte, r int) {
	switch m.source {
	case gguf.Q4_1:
		packQ4_1(panel, row, next, r)
	case gguf.Q8_0:
		packQ8_0(panel, row, next, r)
	default:
		m.packRow(panel, row, r)
		m.packRow(panel, next, r+1)
	}
}

// interleave writes words of four bytes, two of each row, to lines that are 64 bytes apart.
func interleave(line, row, next []byte) {
	_, _, _ = line[71], row[7], next[7]
	a, b := binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(next)
	binary.LittleEndian.PutUint64(line, a&math.MaxUint32|b<<32)
	binary.LittleEndian.PutUint64(line[64:], a>>32|b&^math.MaxUint32)
}

// packRow lays out one row, as row r of its panel.
func (m *Matrix) packRow(panel, row []byte, r int) {
	switch m.source {
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

func packQ4_1(panel, row, next []byte, r int) {
	scale, line := u4Scale(r), 4*r
	for from, to := 0, 0; from < len(row); from, to = from+20, to+u4Block {
		a, b, dst := row[from:from+20], next[from:from+20], panel[to:to+u4Block]
		s, t := binary.LittleEndian.Uint32(a[:]), binary.LittleEndian.Uint32(b[:])
		binary.LittleEndian.PutUint32(dst[scale:], s&math.MaxUint16|t<<16)
		binary.LittleEndian.PutUint32(dst[scale+16:], s>>16|t&^math.MaxUint16)
		interleave(dst[line:], a[4:], b[4:])
		interleave(dst[line+128:], a[12:], b[12:])
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

func packQ8_0(panel, row, next []byte, r int) {
	scale, line := s8Scales+2*r, 4*r
	for from, to := 0, 0; from < len(row); from, to = from+34, to+s8Block {
		a, b, dst := row[from:from+34], next[from:from+34], panel[to:to+s8Block]
		s, t := binary.LittleEndian.Uint16(a[:]), binary.LittleEndian.Uint16(b[:])
		binary.LittleEndian.PutUint32(dst[scale:], uint32(s)|uint32(t)<<16)
		for i := range 4 {
			interleave(dst[line+128*i:], a[2+8*i:], b[2+8*i:])
		}
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
