package kernel

import "encoding/binary"

// The K types cut a row into blocks of 256 elements, with eight (or sixteen) small scales under
// one half-precision number. Ours are blocks of 32 with that number repeated.
const (
	kElems     = 256
	k4Block    = 352 // formatU4K: nibbles, scales, minima, and the bytes that they are times
	k5Block    = 608 // formatS8K: bytes, and the same
	k6Block    = 576 // formatS8H: bytes, scales, and the two bytes that they are times
	signOfHalf = 0x8000
)

// smallScale returns the six-bit scale and minimum of 32 elements, from the twelve bytes into
// which a K block squeezes eight pairs of them.
func smallScale(s []byte, i int) (scale, minimum byte) {
	if i < 4 {
		return s[i] & 63, s[i+4] & 63
	}
	return s[i+4]&15 | s[i-4]>>6<<4, s[i+4]>>4 | s[i]>>6<<4
}

// putMinimum writes a minimum. The file subtracts its minima, the kernels add theirs, so the sign
// is changed.
func putMinimum(dst, src []byte) {
	binary.LittleEndian.PutUint16(dst, binary.LittleEndian.Uint16(src)^signOfHalf)
}

// k4Byte returns where the byte is that the scale of row r of formatU4K is times; that of its
// minimum is eight bytes further on.
func k4Byte(r int) int { return u4Block + 16*(r/8) + r%8 }

func packQ4_K(panel, row []byte, r int) {
	for ; len(row) > 0; row = row[144:] {
		for i := range 8 {
			// A pair of our blocks shares 32 bytes of the file: one the low nibbles, one the high.
			nibbles, shift := row[16+i/2*32:][:32], i%2*4
			for e := range 16 {
				panel[e/4*64+4*r+e%4] = nibbles[e]>>shift&15 | nibbles[e+16]>>shift&15<<4
			}
			copy(panel[u4Scale(r):][:2], row[:2])
			putMinimum(panel[u4Scale(r)+16:], row[2:])
			panel[k4Byte(r)], panel[k4Byte(r)+8] = smallScale(row[4:16], i)
			panel = panel[k4Block:]
		}
	}
}

func packQ5_K(panel, row []byte, r int) {
	for ; len(row) > 0; row = row[176:] {
		for i := range 8 {
			high, nibbles := row[16:48], row[48+i/2*32:][:32]
			for e := range 32 {
				setByte(panel, r, e, nibbles[e]>>(i%2*4)&15|high[e]>>i&1<<4)
			}
			copy(panel[512+2*r:][:2], row[:2])
			putMinimum(panel[544+2*r:], row[2:])
			panel[576+r], panel[592+r] = smallScale(row[4:16], i)
			panel = panel[k5Block:]
		}
	}
}

func packQ6_K(panel, row []byte, r int) {
	for ; len(row) > 0; row = row[210:] {
		for i := range 8 {
			// Half a file's block, 128 elements, has 64 bytes of low nibbles and 32 of high pairs.
			half, quarter := i/4, i%4
			low, high := row[half*64+quarter%2*32:][:32], row[128+half*32:][:32]
			for e := range 32 {
				setByte(panel, r, e, low[e]>>(quarter/2*4)&15|high[e]>>(2*quarter)&3<<4-32)
			}
			copy(panel[512+2*r:][:2], row[208:210])
			panel[544+r], panel[560+r] = row[192+2*i], row[192+2*i+1]
			panel = panel[k6Block:]
		}
	}
}
