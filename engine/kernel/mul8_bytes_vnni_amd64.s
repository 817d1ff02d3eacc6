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

// SCALE adds a column's sum, times both scales, to its result; the column's block begins at an offset.
#define SCALED(off, x, sum, result) \
	VCVTDQ2PS sum, sum; \
	VMULPS.BCST off+32(x), Z26, Z27; \
	VFMADD231PS Z27, sum, result

#define SCALE(off, x, sum, low, result) SCALED(off, x, sum, result)

#define ALLDOTS(EACH) \
	EACH(BIAS, 0); \
	DOTS(EACH, 0); \
	DOTS(EACH, 1); \
	DOTS(EACH, 2); \
	DOTS(EACH, 3); \
	DOTS(EACH, 4); \
	DOTS(EACH, 5); \
	DOTS(EACH, 6); \
	DOTS(EACH, 7); \
	VCVTPH2PS 512(SI), Z26

#define BLOCK(EACH) \
	ALLDOTS(EACH); \
	EACH(SCALE, 0)

// BIASODD, DOTODD and SCALEODD do the same with the other sums.
#define BIASODD(n, x, sum, low, result) BIAS(n, x, low, sum, result)
#define DOTODD(n, x, sum, low, result) DOT(n, x, low, sum, result)
#define SCALEODD(off, x, sum, low, result) SCALED(off, x, low, result)

// EIGHTH sums four elements of every row for eight columns, and scales the block before for one of them.
#define EIGHTH(n, SUMS, COLUMN, SCALES) \
	VPXORD 64*(n)(SI), Z31, Z24; \
	EACH4(SUMS, n); \
	COLUMN(SCALES, -48); \
	COLUMN4(SUMS, n); \
	COLUMN5(SUMS, n); \
	COLUMN6(SUMS, n); \
	COLUMN7(SUMS, n)

#define EIGHTHS(BIASES, SUMS, SCALES) \
	EACH8(BIASES, 0); \
	EIGHTH(0, SUMS, COLUMN0, SCALES); \
	EIGHTH(1, SUMS, COLUMN1, SCALES); \
	EIGHTH(2, SUMS, COLUMN2, SCALES); \
	EIGHTH(3, SUMS, COLUMN3, SCALES); \
	EIGHTH(4, SUMS, COLUMN4, SCALES); \
	EIGHTH(5, SUMS, COLUMN5, SCALES); \
	EIGHTH(6, SUMS, COLUMN6, SCALES); \
	EIGHTH(7, SUMS, COLUMN7, SCALES); \
	VCVTPH2PS 512(SI), Z26

#define BLOCKS(AHEAD) \
	TURNS(AHEAD, ALLDOTS(EACH8), EIGHTHS(BIASODD, DOTODD, SCALE), EIGHTHS(BIAS, DOT, SCALEODD), EACH8(SCALE, -48), EACH8(SCALEODD, -48), 544, 48)

#define MULS8(COLUMNS, EACH, STORE) \
	MUL(0x80808080, INORDER(AHEAD9, BLOCK, 544, 48, EACH), COLUMNS, EACH, STORE)

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
	MUL(0x80808080, BLOCKS(AHEAD9), OWN8, EACH8, STORE8)

// func mulS8x16VNNI(t *tile)
TEXT ·mulS8x16VNNI(SB), NOSPLIT, $0-8
	MANY(0x80808080, 544, 48, BLOCKS(ASK5))
