#include "textflag.h"
#include "vnni_amd64.h"

// Matrices of signed bytes of the K formats with AVX-512 VNNI: panels of sixteen rows, one in each
// lane, times 16-bit activations in halves. The instruction wants one factor unsigned: the weights get 128 more,
// and 128 times the sum of the activations, which their blocks hold, is taken off again. Z8 to Z15
// sum the bytes that count 256, Z16 to Z23 those that count 1.

#define DOT(n, x, high, low, result) \
	VPDPBUSD.BCST 4*(n)(x), Z24, high; \
	VPDPBUSD.BCST 4*(n)+32(x), Z24, low

#define DOTS(EACH, n) \
	VPXORD 64*(n)(SI), Z31, Z24; \
	EACH(DOT, n)

// HALF sums sixteen elements of every row.
#define HALF(EACH, n) \
	DOTS(EACH, n); \
	DOTS(EACH, n+1); \
	DOTS(EACH, n+2); \
	DOTS(EACH, n+3)

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

// APPLY adds a column's sum, times both scales, to its result. In the number's place is what takes the
// bias off.
#define APPLY(BIAS, x, high, low, result) \
	JOIN(high, low); \
	BIAS(x, high); \
	VCVTDQ2PS high, high; \
	VMULPS.BCST 64(x), Z26, Z27; \
	VFMADD231PS Z27, high, result

// MINIMUM adds the rows' minima times the sum of a column's activations.
#define MINIMUM(n, x, high, low, result) \
	VFMADD231PS.BCST 68(x), Z26, result

// TIMESBYTES multiplies the scales with sixteen bytes, signed or not.
#define TIMESBYTES(EXTEND, off) \
	EXTEND off(SI), Z27; \
	VCVTDQ2PS Z27, Z27; \
	VMULPS Z27, Z26, Z26

// What one block takes, in the two formats.
#define WITHMINIMA(EACH) \
	EACH(SUM, 0); \
	EACH(LOW, 0); \
	HALF(EACH, 0); \
	HALF(EACH, 4); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVZXBD, 576); \
	EACH(APPLY, BIASALL); \
	VCVTPH2PS 544(SI), Z26; \
	TIMESBYTES(VPMOVZXBD, 592); \
	EACH(MINIMUM, 0)

#define INHALVES(EACH) \
	EACH(SUM, 0); \
	EACH(LOW, 0); \
	HALF(EACH, 0); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVSXBD, 544); \
	EACH(APPLY, BIASFIRST); \
	EACH(SUM, 0); \
	EACH(LOW, 0); \
	HALF(EACH, 4); \
	VCVTPH2PS 512(SI), Z26; \
	TIMESBYTES(VPMOVSXBD, 560); \
	EACH(APPLY, BIASSECOND)

#define MULS8K(COLUMNS, EACH, STORE) \
	MUL(0x80808080, INORDER(AHEAD9, WITHMINIMA, 608, 80, EACH), COLUMNS, EACH, STORE)

#define MULS8H(COLUMNS, EACH, STORE) \
	MUL(0x80808080, INORDER(AHEAD9, INHALVES, 576, 80, EACH), COLUMNS, EACH, STORE)

// func mulS8Kx1VNNI(t *tile)
TEXT ·mulS8Kx1VNNI(SB), NOSPLIT, $0-8
	MULS8K(COLUMNS1, EACH1, STORE1)

// func mulS8Kx2VNNI(t *tile)
TEXT ·mulS8Kx2VNNI(SB), NOSPLIT, $0-8
	MULS8K(COLUMNS2, EACH2, STORE2)

// func mulS8Kx4VNNI(t *tile)
TEXT ·mulS8Kx4VNNI(SB), NOSPLIT, $0-8
	MULS8K(COLUMNS4, EACH4, STORE4)

// func mulS8Kx8VNNI(t *tile)
TEXT ·mulS8Kx8VNNI(SB), NOSPLIT, $0-8
	MULS8K(OWN8, EACH8, STORE8)

// func mulS8Kx16VNNI(t *tile)
TEXT ·mulS8Kx16VNNI(SB), NOSPLIT, $0-8
	MANY(0x80808080, 608, 80, INORDER(ASK5, WITHMINIMA, 608, 80, EACH8))

// func mulS8Hx1VNNI(t *tile)
TEXT ·mulS8Hx1VNNI(SB), NOSPLIT, $0-8
	MULS8H(COLUMNS1, EACH1, STORE1)

// func mulS8Hx2VNNI(t *tile)
TEXT ·mulS8Hx2VNNI(SB), NOSPLIT, $0-8
	MULS8H(COLUMNS2, EACH2, STORE2)

// func mulS8Hx4VNNI(t *tile)
TEXT ·mulS8Hx4VNNI(SB), NOSPLIT, $0-8
	MULS8H(COLUMNS4, EACH4, STORE4)

// func mulS8Hx8VNNI(t *tile)
TEXT ·mulS8Hx8VNNI(SB), NOSPLIT, $0-8
	MULS8H(OWN8, EACH8, STORE8)

// func mulS8Hx16VNNI(t *tile)
TEXT ·mulS8Hx16VNNI(SB), NOSPLIT, $0-8
	MANY(0x80808080, 576, 80, INORDER(ASK5, INHALVES, 576, 80, EACH8))
