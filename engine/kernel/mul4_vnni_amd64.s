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
#define DOT(off, x, acc) \
	VPDPBUSD.BCST off(x), Z24, acc; \
	VPDPBUSD.BCST off+16(x), Z25, acc

#define DOTS1(i) \
	NIBBLES(64*i); \
	DOT(4*i, AX, Z8)

#define DOTS2(i) \
	DOTS1(i); \
	DOT(4*i, BX, Z9)

#define DOTS4(i) \
	DOTS2(i); \
	DOT(4*i, CX, Z10); \
	DOT(4*i, DX, Z11)

#define DOTS8(i) \
	DOTS4(i); \
	DOT(4*i, R9, Z12); \
	DOT(4*i, R10, Z13); \
	DOT(4*i, R11, Z14); \
	DOT(4*i, R12, Z15)

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
#define SCALE(x, acc, result) \
	VCVTDQ2PS acc, acc; \
	VMULPS.BCST 32(x), Z26, Z28; \
	VFMADD231PS Z28, acc, result; \
	VFMADD231PS.BCST 36(x), Z27, result

#define SCALE1 \
	SCALE(AX, Z8, Z0)

#define SCALE2 \
	SCALE1; \
	SCALE(BX, Z9, Z1)

#define SCALE4 \
	SCALE2; \
	SCALE(CX, Z10, Z2); \
	SCALE(DX, Z11, Z3)

#define SCALE8 \
	SCALE4; \
	SCALE(R9, Z12, Z4); \
	SCALE(R10, Z13, Z5); \
	SCALE(R11, Z14, Z6); \
	SCALE(R12, Z15, Z7)

// MULU4 multiplies with so many columns; a block takes STEP bytes.
#define MULU4(COLUMNS, ZERO, SUMS, DOTS, SCALES, APPLY, ADVANCE, STORE, STEP) \
	START; \
	MOVL $0x0f0f0f0f, R13; \
	VPBROADCASTD R13, Z31; \
panel: \
	COLUMNS; \
	ZERO; \
	MOVQ 16(DI), R13; \
block: \
	AHEAD5; \
	SUMS; \
	DOTS(0); \
	DOTS(1); \
	DOTS(2); \
	DOTS(3); \
	SCALES; \
	APPLY; \
	ADDQ $STEP, SI; \
	ADVANCE(48); \
	DECQ R13; \
	JNZ block; \
	STORE; \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// func mulU4x1VNNI(t *tile)
TEXT ·mulU4x1VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS1, ZERO1, SUMS1, DOTS1, HALFSCALES, SCALE1, ADVANCE1, STORE1, 320)

// func mulU4x2VNNI(t *tile)
TEXT ·mulU4x2VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS2, ZERO2, SUMS2, DOTS2, HALFSCALES, SCALE2, ADVANCE2, STORE2, 320)

// func mulU4x4VNNI(t *tile)
TEXT ·mulU4x4VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS4, ZERO4, SUMS4, DOTS4, HALFSCALES, SCALE4, ADVANCE4, STORE4, 320)

// func mulU4x8VNNI(t *tile)
TEXT ·mulU4x8VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS8, ZERO8, SUMS8, DOTS8, HALFSCALES, SCALE8, ADVANCE8, STORE8, 320)

// func mulU4Kx1VNNI(t *tile)
TEXT ·mulU4Kx1VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS1, ZERO1, SUMS1, DOTS1, KSCALES, SCALE1, ADVANCE1, STORE1, 352)

// func mulU4Kx2VNNI(t *tile)
TEXT ·mulU4Kx2VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS2, ZERO2, SUMS2, DOTS2, KSCALES, SCALE2, ADVANCE2, STORE2, 352)

// func mulU4Kx4VNNI(t *tile)
TEXT ·mulU4Kx4VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS4, ZERO4, SUMS4, DOTS4, KSCALES, SCALE4, ADVANCE4, STORE4, 352)

// func mulU4Kx8VNNI(t *tile)
TEXT ·mulU4Kx8VNNI(SB), NOSPLIT, $0-8
	MULU4(COLUMNS8, ZERO8, SUMS8, DOTS8, KSCALES, SCALE8, ADVANCE8, STORE8, 352)
