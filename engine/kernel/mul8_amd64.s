#include "textflag.h"
#include "macros_amd64.h"

// Matrices of signed bytes: panels of sixteen rows, blocks of 32 elements, times two columns of
// activations or one: bytes, or words for the K formats. Two columns by sixteen rows need fewer loads than four by eight.
// The tile's fields: 0 w, 8 panels, 16 blocks, 24 add, 32 out[16], 160 x[16].

// QUARTER2 adds four elements of four rows, as two sums of each row: Y14 and Y15 are the activations
// of both columns.
#define QUARTER2(off, a, b) \
	VPMOVSXBW off(SI), Y8; \
	VPMADDWD Y14, Y8, Y9; \
	VPMADDWD Y15, Y8, Y8; \
	VPADDD Y9, a, a; \
	VPADDD Y8, b, b

#define QUARTER1(off, a) \
	VPMOVSXBW off(SI), Y8; \
	VPMADDWD Y14, Y8, Y8; \
	VPADDD Y8, a, a

// WORDS and BYTES load four activations, four times over, as words.
#define WORDS(i, x, y, tmp) \
	VPBROADCASTQ 8*(i)(x), y

#define BYTES(i, x, y, tmp) \
	VPBROADCASTD 4*(i)(x), tmp; \
	VPMOVSXBW tmp, y

#define FOUR2(LOAD, i) \
	LOAD(i, AX, Y14, X14); \
	LOAD(i, BX, Y15, X15); \
	QUARTER2(64*(i), Y4, Y10); \
	QUARTER2(64*(i)+16, Y5, Y11); \
	QUARTER2(64*(i)+32, Y6, Y12); \
	QUARTER2(64*(i)+48, Y7, Y13)

#define FOUR1(LOAD, i) \
	LOAD(i, AX, Y14, X14); \
	QUARTER1(64*(i), Y4); \
	QUARTER1(64*(i)+16, Y5); \
	QUARTER1(64*(i)+32, Y6); \
	QUARTER1(64*(i)+48, Y7)

#define SIXTEEN(FOUR, LOAD, i) \
	FOUR(LOAD, i); \
	FOUR(LOAD, i+1); \
	FOUR(LOAD, i+2); \
	FOUR(LOAD, i+3)

#define ZERO(a, b, c, d) \
	VPXOR a, a, a; \
	VPXOR b, b, b; \
	VPXOR c, c, c; \
	VPXOR d, d, d

// HALVES loads sixteen half-precision numbers.
#define HALVES(off) \
	VCVTPH2PS off(SI), Y8; \
	VCVTPH2PS off+16(SI), Y9

// TIMESBYTES multiplies them with sixteen bytes, signed or not.
#define TIMESBYTES(EXTEND, off) \
	EXTEND off(SI), Y14; \
	EXTEND off+8(SI), Y15; \
	VCVTDQ2PS Y14, Y14; \
	VCVTDQ2PS Y15, Y15; \
	VMULPS Y14, Y8, Y8; \
	VMULPS Y15, Y9, Y9

// APPLY adds up a column's sums, eight rows in a and b, eight in c and d, and adds them, times both
// scales, to its result; the column's scale is so far into its block.
#define APPLY(at, x, a, b, c, d, low, high) \
	VPHADDD b, a, a; \
	VPHADDD d, c, c; \
	VPERMQ $0xd8, a, a; \
	VPERMQ $0xd8, c, c; \
	VBROADCASTSS at(x), b; \
	VCVTDQ2PS a, a; \
	VCVTDQ2PS c, c; \
	VMULPS Y8, b, d; \
	VMULPS Y9, b, b; \
	VFMADD231PS d, a, low; \
	VFMADD231PS b, c, high

// MINIMA adds the rows' minima times the sum of a column's activations.
#define MINIMA(x, low, high) \
	VBROADCASTSS 68(x), Y14; \
	VFMADD231PS Y8, Y14, low; \
	VFMADD231PS Y9, Y14, high

#define APPLY2(at) \
	APPLY(at, AX, Y4, Y5, Y6, Y7, Y0, Y1); \
	APPLY(at, BX, Y10, Y11, Y12, Y13, Y2, Y3)

#define APPLY1(at) APPLY(at, AX, Y4, Y5, Y6, Y7, Y0, Y1)

#define MINIMA2 \
	MINIMA(AX, Y0, Y1); \
	MINIMA(BX, Y2, Y3)

#define MINIMA1 MINIMA(AX, Y0, Y1)

#define ZERO2 \
	ZERO(Y4, Y5, Y6, Y7); \
	ZERO(Y10, Y11, Y12, Y13)

#define ZERO1 ZERO(Y4, Y5, Y6, Y7)

// What one block takes, in the three formats.
#define PLAIN(FOUR, ZEROS, APPLIES, MINIMAS) \
	ZEROS; \
	SIXTEEN(FOUR, BYTES, 0); \
	SIXTEEN(FOUR, BYTES, 4); \
	HALVES(512); \
	APPLIES(32)

#define WITHMINIMA(FOUR, ZEROS, APPLIES, MINIMAS) \
	ZEROS; \
	SIXTEEN(FOUR, WORDS, 0); \
	SIXTEEN(FOUR, WORDS, 4); \
	HALVES(512); \
	TIMESBYTES(VPMOVZXBD, 576); \
	APPLIES(64); \
	HALVES(544); \
	TIMESBYTES(VPMOVZXBD, 592); \
	MINIMAS

#define INHALVES(FOUR, ZEROS, APPLIES, MINIMAS) \
	ZEROS; \
	SIXTEEN(FOUR, WORDS, 0); \
	HALVES(512); \
	TIMESBYTES(VPMOVSXBD, 544); \
	APPLIES(64); \
	ZEROS; \
	SIXTEEN(FOUR, WORDS, 4); \
	HALVES(512); \
	TIMESBYTES(VPMOVSXBD, 560); \
	APPLIES(64)

// MULS8X2 multiplies with two columns; a block takes STEP bytes, one of a column COLUMNSTEP.
#define MULS8X2(BLOCK, STEP, COLUMNSTEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 32(DI), R9; \
	MOVQ 40(DI), R10; \
	MOVQ 24(DI), R14; \
panel: \
	MOVQ 160(DI), AX; \
	MOVQ 168(DI), BX; \
	MOVQ 16(DI), R13; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
block: \
	AHEAD8; \
	BLOCK(FOUR2, ZERO2, APPLY2, MINIMA2); \
	ADDQ $STEP, SI; \
	ADDQ $COLUMNSTEP, AX; \
	ADDQ $COLUMNSTEP, BX; \
	DECQ R13; \
	JNZ block; \
	TESTQ R14, R14; \
	JZ store; \
	VADDPS (R9), Y0, Y0; \
	VADDPS 32(R9), Y1, Y1; \
	VADDPS (R10), Y2, Y2; \
	VADDPS 32(R10), Y3, Y3; \
store: \
	VMOVUPS Y0, (R9); \
	VMOVUPS Y1, 32(R9); \
	VMOVUPS Y2, (R10); \
	VMOVUPS Y3, 32(R10); \
	ADDQ $64, R9; \
	ADDQ $64, R10; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// MULS8X1 multiplies with one column.
#define MULS8X1(BLOCK, STEP, COLUMNSTEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 32(DI), R9; \
	MOVQ 24(DI), R14; \
panel: \
	MOVQ 160(DI), AX; \
	MOVQ 16(DI), R13; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
block: \
	AHEAD8; \
	BLOCK(FOUR1, ZERO1, APPLY1, MINIMA1); \
	ADDQ $STEP, SI; \
	ADDQ $COLUMNSTEP, AX; \
	DECQ R13; \
	JNZ block; \
	TESTQ R14, R14; \
	JZ store; \
	VADDPS (R9), Y0, Y0; \
	VADDPS 32(R9), Y1, Y1; \
store: \
	VMOVUPS Y0, (R9); \
	VMOVUPS Y1, 32(R9); \
	ADDQ $64, R9; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// func mulS8x2AVX2(t *tile)
TEXT ·mulS8x2AVX2(SB), NOSPLIT, $0-8
	MULS8X2(PLAIN, 544, 48)

// func mulS8x1AVX2(t *tile)
TEXT ·mulS8x1AVX2(SB), NOSPLIT, $0-8
	MULS8X1(PLAIN, 544, 48)

// func mulS8Kx2AVX2(t *tile)
TEXT ·mulS8Kx2AVX2(SB), NOSPLIT, $0-8
	MULS8X2(WITHMINIMA, 608, 72)

// func mulS8Kx1AVX2(t *tile)
TEXT ·mulS8Kx1AVX2(SB), NOSPLIT, $0-8
	MULS8X1(WITHMINIMA, 608, 72)

// func mulS8Hx2AVX2(t *tile)
TEXT ·mulS8Hx2AVX2(SB), NOSPLIT, $0-8
	MULS8X2(INHALVES, 576, 72)

// func mulS8Hx1AVX2(t *tile)
TEXT ·mulS8Hx1AVX2(SB), NOSPLIT, $0-8
	MULS8X1(INHALVES, 576, 72)
