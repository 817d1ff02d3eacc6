#include "textflag.h"
#include "vnni_amd64.h"

// Matrices of signed bytes with AVX-512 VNNI: panels of sixteen rows, one in each lane. The
// instruction wants one factor unsigned: the weights get 128 more, and the sums begin with -128
// times the sum of the activations, which their blocks hold.

#define BIAS(n, x, sum, low, result) \
	VPBROADCASTD 40(x), sum

#define DOT(n, x, sum, low, result) \
	VPDPBUSD.BCST 4*(n)(x), Z24, sum

#define DOTS(EACH, n) \
	VPXORD 64*(n)(SI), Z31, Z24; \
	EACH(DOT, n)

// SCALE adds a column's sum, times both scales, to its result.
#define SCALE(n, x, sum, low, result) \
	VCVTDQ2PS sum, sum; \
	VMULPS.BCST 32(x), Z26, Z27; \
	VFMADD231PS Z27, sum, result

#define BLOCK(EACH) \
	EACH(BIAS, 0); \
	DOTS(EACH, 0); \
	DOTS(EACH, 1); \
	DOTS(EACH, 2); \
	DOTS(EACH, 3); \
	DOTS(EACH, 4); \
	DOTS(EACH, 5); \
	DOTS(EACH, 6); \
	DOTS(EACH, 7); \
	VCVTPH2PS 512(SI), Z26; \
	EACH(SCALE, 0)

#define MULS8(COLUMNS, EACH, STORE) \
	MUL(0x80808080, AHEAD9, BLOCK, 544, 48, COLUMNS, EACH, STORE)

// func mulS8x1VNNI(t *tile)
TEXT ·mulS8x1VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS1, EACH1, STORE1)

// func mulS8x2VNNI(t *tile)
TEXT ·mulS8x2VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS2, EACH2, STORE2)

// func mulS8x4VNNI(t *tile)
TEXT ·mulS8x4VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS4, EACH4, STORE4)

// func mulS8x8VNNI(t *tile)
TEXT ·mulS8x8VNNI(SB), NOSPLIT, $0-8
	MULS8(COLUMNS8, EACH8, STORE8)

// func mulS8x16VNNI(t *tile)
TEXT ·mulS8x16VNNI(SB), NOSPLIT, $0-8
	MANY(0x80808080, ASK5, BLOCK, 544, 48)
