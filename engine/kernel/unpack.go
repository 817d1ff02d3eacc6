package kernel

import (
	"encoding/binary"
	"math"
)

// Row writes row i of the matrix as floats, unpacked.
func (m *Matrix) Row(dst []float32, i int) {
	panel := m.data[i/panelRows*m.PanelBytes():][:m.PanelBytes()]
	r := i % panelRows
	for b := range m.blocks {
		block := panel[b*m.blockBytes:][:m.blockBytes]
		if m.input == 0 {
			dst[b] = float(block, m.format, r)
			continue
		}
		for e := range BlockElems {
			scale, minimum := m.format.scales(block, r, e)
			dst[b*BlockElems+e] = float32(scale*float32(m.format.integer(block, r, e))) + minimum
		}
	}
}

// integer returns the stored number of element e of row r of a quantized block.
func (f format) integer(block []byte, r, e int) int32 {
	if f == formatU4 || f == formatU4K {
		return int32(block[e%16/4*64+4*r+e%4] >> (e / 16 * 4) & 15)
	}
	return int32(int8(block[e/4*64+4*r+e%4]))
}

// scales returns what element e of row r of a quantized block is times, and what is added.
func (f format) scales(block []byte, r, e int) (scale, minimum float32) {
	switch f {
	case formatU4:
		return half(block, u4Scale(r)), half(block, u4Scale(r)+16)
	case formatU4K:
		return half(block, u4Scale(r)) * float32(block[k4Byte(r)]), half(block, u4Scale(r)+16) * float32(block[k4Byte(r)+8])
	case formatS8K:
		return half(block, 512+2*r) * float32(block[576+r]), half(block, 544+2*r) * float32(block[592+r])
	case formatS8H:
		return half(block, 512+2*r) * float32(int8(block[544+e/16*16+r])), 0
	}
	return half(block, s8Scales+2*r), 0
}

// float returns the element of row r of a block that is one element of floats.
func float(block []byte, f format, r int) float32 {
	switch f {
	case formatF16:
		return half(block, 2*r)
	case formatBF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(block[2*r:])) << 16)
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(block[4*r:]))
}

// half returns the half-precision number at an offset.
func half(block []byte, at int) float32 {
	return FromHalf(binary.LittleEndian.Uint16(block[at:]))
}
