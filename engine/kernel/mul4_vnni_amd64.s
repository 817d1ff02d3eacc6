#include "textflag.h"
#include "vnni_amd64.h"

// Matrices of nibbles with AVX-512 VNNI: panels of sixteen rows, one in each lane.

// NIBBLES loads 64 bytes of nibbles: the low ones to Z24, the high ones to Z25.
#define NIBBLES(off) \
	VMOVDQU64 off(SI), Z25; \
	VPANDD Z31, Z25, Z24; \
	VPSRLW $4, Z25, Z25; \
	VPANDD Z31, Z25, Z25

// DOT adds eight elements of every row.
#define DOT(n, x, sum, low, result) \
	VPDPBUSD.BCST 4*(n)(x), Z24, sum; \
	VPDPBUSD.BCST 4*(n)+16(x), Z25, sum

#define DOTS(EACH, n) \
	NIBBLES(64*(n)); \
	EACH(DOT, n)

// SIXTEEN loads the sixteen half-precision numbers that lie in two halves.
#define SIXTEEN(off, x, y, z) \
	VMOVDQU32 off(SI), x; \
	VINSERTI32X4 $1, off+32(SI), y, y; \
	VCVTPH2PS y, z

// HALFSCALES loads the rows' scales to Z26 and their minima to Z27.
#define HALFSCALES \
	SIXTEEN(256, X26, Y26, Z26); \
	SIXTEEN(272, X27, Y27, Z27)

// KSCALES loads those that are times a byte.
#define KSCALES \
	HALFSCALES; \
	VMOVQ 320(SI), X28; \
	VMOVQ 328(SI), X29; \
	VMOVHPS 336(SI), X28, X28; \
	VMOVHPS 344(SI), X29, X29; \
	VPMOVZXBD X28, Z28; \
	VPMOVZXBD X29, Z29; \
	VCVTDQ2PS Z28, Z28; \
	VCVTDQ2PS Z29, Z29; \
	VMULPS Z28, Z26, Z26; \
	VMULPS Z29, Z27, Z27

// SCALE adds a column's sums, times both scales, to its result, and the minima times the sum of the
// column's activations.
#define SCALE(n, x, sum, low, result) \
	VCVTDQ2PS sum, sum; \
	VMULPS.BCST 32(x), Z26, Z28; \
	VFMADD231PS Z28, sum, result; \
	VFMADD231PS.BCST 36(x), Z27, result

#define BLOCK(EACH, SCALES) \
	EACH(SUM, 0); \
	DOTS(EACH, 0); \
	DOTS(EACH, 1); \
	DOTS(EACH, 2); \
	DOTS(EACH, 3); \
	SCALES; \
	EACH(SCALE, 0)

#define HALFBLOCK(EACH) \
	BLOCK(EACH, HALFSCALES)

#define KBLOCK(EACH) \
	BLOCK(EACH, KSCALES)

#define MULU4(COLUMNS, EACH, STORE) \
	MUL(0x0f0f0f0f, AHEAD5, HALFBLOCK, 320, 48, COLUMNS, EACH, STORE)

#define MULU4K(COLUMNS, EACH, STORE) \
	MUL(0x0f0f0f0f, AHEAD5, KBLOCK, 352, 48, COLUMNS, EACH, STORE)

// func mulU4x1VNNI(t *tile)
TEXT ·mulU4x1VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS1, EACH1, STORE1)

// func mulU4x2VNNI(t *tile)
TEXT ·mulU4x2VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS2, EACH2, STORE2)

// func mulU4x4VNNI(t *tile)
TEXT ·mulU4x4VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS4, EACH4, STORE4)

// func mulU4x8VNNI(t *tile)
TEXT ·mulU4x8VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS8, EACH8, STORE8)

// func mulU4x16VNNI(t *tile)
TEXT ·mulU4x16VNNI(SB), NOSPLIT, $0-8
	MANY(0x0f0f0f0f, ASK3, HALFBLOCK, 320, 48)

// func mulU4Kx1VNNI(t *tile)
TEXT ·mulU4Kx1VNNI(SB), NOSPLIT, $0-8
	MULU4K(COLUMNS1, EACH1, STORE1)

// func mulU4Kx2VNNI(t *tile)
TEXT ·mulU4Kx2VNNI(SB), NOSPLIT, $0-8
	MULU4K(COLUMNS2, EACH2, STORE2)

// func mulU4Kx4VNNI(t *tile)
TEXT ·mulU4Kx4VNNI(SB), NOSPLIT, $0-8
	MULU4K(COLUMNS4, EACH4, STORE4)

// func mulU4Kx8VNNI(t *tile)
TEXT ·mulU4Kx8VNNI(SB), NOSPLIT, $0-8
	MULU4K(COLUMNS8, EACH8, STORE8)

// func mulU4Kx16VNNI(t *tile)
TEXT ·mulU4Kx16VNNI(SB), NOSPLIT, $0-8
	MANY(0x0f0f0f0f, ASK3, KBLOCK, 352, 48)
