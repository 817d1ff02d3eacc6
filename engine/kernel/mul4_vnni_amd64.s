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
// column's activations, whose block begins at an offset.
#define SCALED(off, x, sum, result) \
	VCVTDQ2PS sum, sum; \
	VMULPS.BCST off+32(x), Z26, Z28; \
	VFMADD231PS Z28, sum, result; \
	VFMADD231PS.BCST off+36(x), Z27, result

#define SCALE(off, x, sum, low, result) SCALED(off, x, sum, result)

#define SUMS(EACH, SCALES) \
	EACH(SUM, 0); \
	DOTS(EACH, 0); \
	DOTS(EACH, 1); \
	DOTS(EACH, 2); \
	DOTS(EACH, 3); \
	SCALES

#define BLOCK(EACH, SCALES) \
	SUMS(EACH, SCALES); \
	EACH(SCALE, 0)

#define HALFBLOCK(EACH) \
	BLOCK(EACH, HALFSCALES)

#define KBLOCK(EACH) \
	BLOCK(EACH, KSCALES)

// DOTODD and SCALEODD do the same with the other sums.
#define DOTODD(n, x, sum, low, result) DOT(n, x, low, sum, result)
#define SCALEODD(off, x, sum, low, result) SCALED(off, x, low, result)

// QUARTER sums eight elements of every row for eight columns, and scales the block before for two of them.
#define QUARTER(n, DOT1, A, B, SCALES) \
	NIBBLES(64*(n)); \
	EACH4(DOT1, n); \
	A(SCALES, -48); \
	B(SCALES, -48); \
	COLUMN4(DOT1, n); \
	COLUMN5(DOT1, n); \
	COLUMN6(DOT1, n); \
	COLUMN7(DOT1, n)

#define QUARTERS(CLEAR, DOT1, SCALES, OWN) \
	EACH8(CLEAR, 0); \
	QUARTER(0, DOT1, COLUMN0, COLUMN1, SCALES); \
	QUARTER(1, DOT1, COLUMN2, COLUMN3, SCALES); \
	QUARTER(2, DOT1, COLUMN4, COLUMN5, SCALES); \
	QUARTER(3, DOT1, COLUMN6, COLUMN7, SCALES); \
	OWN

#define BLOCKS(AHEAD, OWN, STEP) \
	TURNS(AHEAD, SUMS(EACH8, OWN), QUARTERS(LOW, DOTODD, SCALE, OWN), QUARTERS(SUM, DOT, SCALEODD, OWN), EACH8(SCALE, -48), EACH8(SCALEODD, -48), STEP, 48)

#define MULU4(COLUMNS, EACH, STORE) \
	MUL(0x0f0f0f0f, INORDER(AHEAD5, HALFBLOCK, 320, 48, EACH), COLUMNS, EACH, STORE)

#define MULU4K(COLUMNS, EACH, STORE) \
	MUL(0x0f0f0f0f, INORDER(AHEAD5, KBLOCK, 352, 48, EACH), COLUMNS, EACH, STORE)

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
	MUL(0x0f0f0f0f, BLOCKS(AHEAD5, HALFSCALES, 320), OWN8, EACH8, STORE8)

// func mulU4x16VNNI(t *tile)
TEXT ·mulU4x16VNNI(SB), NOSPLIT, $0-8
	MANY(0x0f0f0f0f, 320, 48, BLOCKS(ASK3, HALFSCALES, 320))

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
	MUL(0x0f0f0f0f, BLOCKS(AHEAD5, KSCALES, 352), OWN8, EACH8, STORE8)

// func mulU4Kx16VNNI(t *tile)
TEXT ·mulU4Kx16VNNI(SB), NOSPLIT, $0-8
	MANY(0x0f0f0f0f, 352, 48, BLOCKS(ASK3, KSCALES, 352))
