#include "textflag.h"
#include "vnni_amd64.h"

// Matrices of signed bytes of the K formats with AVX-512 VNNI: panels of sixteen rows, one in each
// lane, times 16-bit activations in halves. The instruction wants one factor unsigned: the weights get 128 more,
// and 128 times the sum of the activations, which their blocks hold, is taken off again. Z8 to Z15
// sum the bytes that count 256, Z16 to Z23 those that count 1.

#define WEIGHTS(i) \
	VPXORD 64*(i)(SI), Z31, Z24

#define DOT(i, x, high, low) \
	VPDPBUSD.BCST 4*(i)(x), Z24, high; \
	VPDPBUSD.BCST 4*(i)+32(x), Z24, low

#define DOTS1(i) \
	WEIGHTS(i); \
	DOT(i, AX, Z8, Z16)

#define DOTS2(i) \
	DOTS1(i); \
	DOT(i, BX, Z9, Z17)

#define DOTS4(i) \
	DOTS2(i); \
	DOT(i, CX, Z10, Z18); \
	DOT(i, DX, Z11, Z19)

#define DOTS8(i) \
	DOTS4(i); \
	DOT(i, R9, Z12, Z20); \
	DOT(i, R10, Z13, Z21); \
	DOT(i, R11, Z14, Z22); \
	DOT(i, R12, Z15, Z23)

#define LOWS1 \
	VPXORD Z16, Z16, Z16

#define LOWS2 \
	LOWS1; \
	VPXORD Z17, Z17, Z17

#define LOWS4 \
	LOWS2; \
	VPXORD Z18, Z18, Z18; \
	VPXORD Z19, Z19, Z19

#define LOWS8 \
	LOWS4; \
	VPXORD Z20, Z20, Z20; \
	VPXORD Z21, Z21, Z21; \
	VPXORD Z22, Z22, Z22; \
	VPXORD Z23, Z23, Z23

#define SIXTEEN(DOTS, i) \
	DOTS(i); \
	DOTS(i+1); \
	DOTS(i+2); \
	DOTS(i+3)

// JOIN makes one sum of both; BIAS takes the 128 of the weights off it.
#define JOIN(high, low) \
	VPSLLD $8, high, high; \
	VPADDD low, high, high

#define BIASALL(x, sum) \
	VPSUBD.BCST 72(x), sum, sum

#define BIASSECOND(x, sum) \
	VPSUBD.BCST 76(x), sum, sum

#define BIASFIRST(x, sum) \
	VPBROADCASTD 76(x), Z27; \
	BIASALL(x, sum); \
	VPADDD Z27, sum, sum

// APPLY adds a column's sum, times both scales, to its result.
#define APPLY(BIAS, x, high, low, result) \
	JOIN(high, low); \
	BIAS(x, high); \
	VCVTDQ2PS high, high; \
	VMULPS.BCST 64(x), Z26, Z27; \
	VFMADD231PS Z27, high, result

#define APPLIES1(BIAS) \
	APPLY(BIAS, AX, Z8, Z16, Z0)

#define APPLIES2(BIAS) \
	APPLIES1(BIAS); \
	APPLY(BIAS, BX, Z9, Z17, Z1)

#define APPLIES4(BIAS) \
	APPLIES2(BIAS); \
	APPLY(BIAS, CX, Z10, Z18, Z2); \
	APPLY(BIAS, DX, Z11, Z19, Z3)

#define APPLIES8(BIAS) \
	APPLIES4(BIAS); \
	APPLY(BIAS, R9, Z12, Z20, Z4); \
	APPLY(BIAS, R10, Z13, Z21, Z5); \
	APPLY(BIAS, R11, Z14, Z22, Z6); \
	APPLY(BIAS, R12, Z15, Z23, Z7)

// MINIMA add the rows' minima times the sum of a column's activations.
#define MINIMA1 \
	VFMADD231PS.BCST 68(AX), Z26, Z0

#define MINIMA2 \
	MINIMA1; \
	VFMADD231PS.BCST 68(BX), Z26, Z1

#define MINIMA4 \
	MINIMA2; \
	VFMADD231PS.BCST 68(CX), Z26, Z2; \
	VFMADD231PS.BCST 68(DX), Z26, Z3

#define MINIMA8 \
	MINIMA4; \
	VFMADD231PS.BCST 68(R9), Z26, Z4; \
	VFMADD231PS.BCST 68(R10), Z26, Z5; \
	VFMADD231PS.BCST 68(R11), Z26, Z6; \
	VFMADD231PS.BCST 68(R12), Z26, Z7

// TIMESBYTES multiplies the scales with sixteen bytes, signed or not.
#define TIMESBYTES(EXTEND, off) \
	EXTEND off(SI), Z27; \
	VCVTDQ2PS Z27, Z27; \
	VMULPS Z27, Z26, Z26

// What one block takes, in the two formats.
#define WITHMINIMA(SUMS, LOWS, DOTS, APPLIES, MINIMAS) \
	SUMS; \
	LOWS; \
	SIXTEEN(DOTS, 0); \
	SIXTEEN(DOTS, 4); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVZXBD, 576); \
	APPLIES(BIASALL); \
	VCVTPH2PS 544(SI), Z26; \
	TIMESBYTES(VPMOVZXBD, 592); \
	MINIMAS

#define INHALVES(SUMS, LOWS, DOTS, APPLIES, MINIMAS) \
	SUMS; \
	LOWS; \
	SIXTEEN(DOTS, 0); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVSXBD, 544); \
	APPLIES(BIASFIRST); \
	SUMS; \
	LOWS; \
	SIXTEEN(DOTS, 4); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVSXBD, 560); \
	APPLIES(BIASSECOND)

// MULS8 multiplies with so many columns; a block takes STEP bytes.
#define MULS8(COLUMNS, ZERO, SUMS, LOWS, DOTS, APPLIES, MINIMAS, ADVANCE, STORE, BLOCK, STEP) \
	START; \
	MOVL $0x80808080, R13; \
	VPBROADCASTD R13, Z31; \
panel: \
	COLUMNS; \
	ZERO; \
	MOVQ 16(DI), R13; \
block: \
	AHEAD9; \
	BLOCK(SUMS, LOWS, DOTS, APPLIES, MINIMAS); \
	ADDQ $STEP, SI; \
	ADVANCE(80); \
	DECQ R13; \
	JNZ block; \
	STORE; \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// func mulS8Kx1VNNI(t *tile)
TEXT ·mulS8Kx1VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS1, ZERO1, SUMS1, LOWS1, DOTS1, APPLIES1, MINIMA1, ADVANCE1, STORE1, WITHMINIMA, 608)

// func mulS8Kx2VNNI(t *tile)
TEXT ·mulS8Kx2VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS2, ZERO2, SUMS2, LOWS2, DOTS2, APPLIES2, MINIMA2, ADVANCE2, STORE2, WITHMINIMA, 608)

// func mulS8Kx4VNNI(t *tile)
TEXT ·mulS8Kx4VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS4, ZERO4, SUMS4, LOWS4, DOTS4, APPLIES4, MINIMA4, ADVANCE4, STORE4, WITHMINIMA, 608)

// func mulS8Kx8VNNI(t *tile)
TEXT ·mulS8Kx8VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS8, ZERO8, SUMS8, LOWS8, DOTS8, APPLIES8, MINIMA8, ADVANCE8, STORE8, WITHMINIMA, 608)

// func mulS8Hx1VNNI(t *tile)
TEXT ·mulS8Hx1VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS1, ZERO1, SUMS1, LOWS1, DOTS1, APPLIES1, MINIMA1, ADVANCE1, STORE1, INHALVES, 576)

// func mulS8Hx2VNNI(t *tile)
TEXT ·mulS8Hx2VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS2, ZERO2, SUMS2, LOWS2, DOTS2, APPLIES2, MINIMA2, ADVANCE2, STORE2, INHALVES, 576)

// func mulS8Hx4VNNI(t *tile)
TEXT ·mulS8Hx4VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS4, ZERO4, SUMS4, LOWS4, DOTS4, APPLIES4, MINIMA4, ADVANCE4, STORE4, INHALVES, 576)

// func mulS8Hx8VNNI(t *tile)
TEXT ·mulS8Hx8VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS8, ZERO8, SUMS8, LOWS8, DOTS8, APPLIES8, MINIMA8, ADVANCE8, STORE8, INHALVES, 576)
