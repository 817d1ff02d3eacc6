#include "textflag.h"
#include "vnni_amd64.h"

// Matrices of signed bytes with AVX-512 VNNI: panels of sixteen rows, one in each lane. The
// instruction wants one factor unsigned: the weights get 128 more, and the sums begin with -128
// times the sum of the activations, which their blocks hold.

#define BIAS1 \
	VPBROADCASTD 40(AX), Z8

#define BIAS2 \
	BIAS1; \
	VPBROADCASTD 40(BX), Z9

#define BIAS4 \
	BIAS2; \
	VPBROADCASTD 40(CX), Z10; \
	VPBROADCASTD 40(DX), Z11

#define BIAS8 \
	BIAS4; \
	VPBROADCASTD 40(R9), Z12; \
	VPBROADCASTD 40(R10), Z13; \
	VPBROADCASTD 40(R11), Z14; \
	VPBROADCASTD 40(R12), Z15

#define DOTS1(i) \
	VPXORD 64*(i)(SI), Z31, Z24; \
	VPDPBUSD.BCST 4*(i)(AX), Z24, Z8

#define DOTS2(i) \
	DOTS1(i); \
	VPDPBUSD.BCST 4*(i)(BX), Z24, Z9

#define DOTS4(i) \
	DOTS2(i); \
	VPDPBUSD.BCST 4*(i)(CX), Z24, Z10; \
	VPDPBUSD.BCST 4*(i)(DX), Z24, Z11

#define DOTS8(i) \
	DOTS4(i); \
	VPDPBUSD.BCST 4*(i)(R9), Z24, Z12; \
	VPDPBUSD.BCST 4*(i)(R10), Z24, Z13; \
	VPDPBUSD.BCST 4*(i)(R11), Z24, Z14; \
	VPDPBUSD.BCST 4*(i)(R12), Z24, Z15

// SCALE adds a column's sums, times both scales, to its result.
#define SCALE(x, sums, result) \
	VCVTDQ2PS sums, sums; \
	VMULPS.BCST 32(x), Z26, Z27; \
	VFMADD231PS Z27, sums, result

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

// MULS8 multiplies with so many columns.
#define MULS8(COLUMNS, ZERO, BIAS, DOTS, SCALES, ADVANCE, STORE) \
	START; \
	MOVL $0x80808080, R13; \
	VPBROADCASTD R13, Z31; \
panel: \
	COLUMNS; \
	ZERO; \
	MOVQ 16(DI), R13; \
block: \
	AHEAD9; \
	BIAS; \
	DOTS(0); \
	DOTS(1); \
	DOTS(2); \
	DOTS(3); \
	DOTS(4); \
	DOTS(5); \
	DOTS(6); \
	DOTS(7); \
	VCVTPH2PS 512(SI), Z26; \
	SCALES; \
	ADDQ $544, SI; \
	ADVANCE(48); \
	DECQ R13; \
	JNZ block; \
	STORE; \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// func mulS8x1VNNI(t *tile)
TEXT ·mulS8x1VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS1, ZERO1, BIAS1, DOTS1, SCALE1, ADVANCE1, STORE1)

// func mulS8x2VNNI(t *tile)
TEXT ·mulS8x2VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS2, ZERO2, BIAS2, DOTS2, SCALE2, ADVANCE2, STORE2)

// func mulS8x4VNNI(t *tile)
TEXT ·mulS8x4VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS4, ZERO4, BIAS4, DOTS4, SCALE4, ADVANCE4, STORE4)

// func mulS8x8VNNI(t *tile)
TEXT ·mulS8x8VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS8, ZERO8, BIAS8, DOTS8, SCALE8, ADVANCE8, STORE8)
