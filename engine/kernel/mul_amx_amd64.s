#include "textflag.h"

// Matrices times many columns with AMX, whose tiles multiply sixteen rows of weights with sixteen
// columns at once, or with fewer in the same time: those the other kernels multiply faster. Each block of 32 elements is a product of its own, since it has scales of
// its own; the sums are whole numbers, so that the results have the same bits as with any other kernel.
// The tiles are not renamed: a block's product would wait until the one before it has been stored.
// Hence two sets of tiles take turns, and a block is scaled while the next one is multiplied.
// Go's assembler does not know the instructions, hence the bytes.
//
// The tile's fields: 0 w, 8 panels, 16 blocks, 24 add, 160 x[0], 288 columns, 296 stride, 304 scratch,
// 312 vectors, 320 offset, 328 group, 336 end, 344 panel.
// By convention: AX R9 R10 R11 the blocks of columns 0, 4, 8 and 12, BX from one column to the next,
// R12 three times that, CX 64, DX the weights, SI the sums of two blocks, R15 the results' slices.

// LDTILECFG (AX)
#define CONFIGURE \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00

// TILERELEASE
#define RELEASE \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0

// TILEZERO TMM0 and TMM1
#define ZEROEVEN \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x49; BYTE $0xc0

#define ZEROODD \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x49; BYTE $0xc8

// TILELOADD (AX)(BX*1), TMM2: the first block; 48(AX)(BX*1), TMM2 and TMM4: the next
#define COLUMNSFIRST \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x14; BYTE $0x18

#define COLUMNSEVEN \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x54; BYTE $0x18; BYTE $48

#define COLUMNSODD \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x64; BYTE $0x18; BYTE $48

// TILELOADD (DX)(CX*1), TMM3: the first block; STEP(DX)(CX*1), TMM3 and TMM5: the next
#define WEIGHTSFIRST \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x1c; BYTE $0x0a

#define WEIGHTSEVEN(STEP) \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0x9c; BYTE $0x0a; LONG $STEP

#define WEIGHTSODD(STEP) \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $0xac; BYTE $0x0a; LONG $STEP

// TDPBSUD TMM3, TMM2, TMM0 and TMM5, TMM4, TMM1: signed columns, unsigned weights
#define EVENUNSIGNED \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x62; BYTE $0x5e; BYTE $0xc2

#define ODDUNSIGNED \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x52; BYTE $0x5e; BYTE $0xcc

// TDPBSSD of the same
#define EVENSIGNED \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x63; BYTE $0x5e; BYTE $0xc2

#define ODDSIGNED \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x53; BYTE $0x5e; BYTE $0xcc

// TILESTORED TMM0, (SI)(CX*1) and TMM1, 1024(SI)(CX*1)
#define STOREEVEN \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7a; BYTE $0x4b; BYTE $0x04; BYTE $0x0e

#define STOREODD \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x7a; BYTE $0x4b; BYTE $0x8c; BYTE $0x0e; LONG $1024

// Tiles 0 and 1 hold sums, 2 and 4 a block of the columns, 3 and 5 a block of weights.
DATA layout<>+0(SB)/8, $0x0000000000000001
DATA layout<>+8(SB)/8, $0
DATA layout<>+16(SB)/8, $0x0040002000400040 // bytes of a row
DATA layout<>+24(SB)/8, $0x0000000000400020
DATA layout<>+32(SB)/8, $0
DATA layout<>+40(SB)/8, $0
DATA layout<>+48(SB)/8, $0x0000081008101010 // rows
DATA layout<>+56(SB)/8, $0
GLOBL layout<>(SB), RODATA|NOPTR, $64

#define START \
	MOVQ t+0(FP), DI; \
	LEAQ layout<>(SB), AX; \
	CONFIGURE; \
	MOVQ 0(DI), R8; \
	MOVQ R8, 344(DI); \
	MOVQ 8(DI), R8; \
	MOVQ 296(DI), BX; \
	LEAQ (BX)(BX*2), R12; \
	MOVQ $64, CX; \
	MOVQ 288(DI), AX; \
	LEAQ (AX)(AX*2), AX; \
	SHLQ $3, AX; \
	ADDQ 312(DI), AX; \
	MOVQ AX, 336(DI); \
	XORQ R13, R13; \
	SUBQ 24(DI), R13; \
	KMOVW R13, K1; \
	MOVQ 320(DI), R14

// COLUMNS goes to the columns' first blocks, and where their results begin.
#define COLUMNS \
	MOVQ 160(DI), AX; \
	MOVQ AX, 328(DI); \
	MOVQ 312(DI), R15

// ZERO begins a group of columns.
#define ZERO \
	MOVQ 328(DI), AX; \
	LEAQ (AX)(BX*4), R9; \
	LEAQ (R9)(BX*4), R10; \
	LEAQ (R10)(BX*4), R11; \
	MOVQ 16(DI), R13; \
	VPXORD Z0, Z0, Z0; \
	VPXORD Z1, Z1, Z1; \
	VPXORD Z2, Z2, Z2; \
	VPXORD Z3, Z3, Z3; \
	VPXORD Z4, Z4, Z4; \
	VPXORD Z5, Z5, Z5; \
	VPXORD Z6, Z6, Z6; \
	VPXORD Z7, Z7, Z7; \
	VPXORD Z8, Z8, Z8; \
	VPXORD Z9, Z9, Z9; \
	VPXORD Z10, Z10, Z10; \
	VPXORD Z11, Z11, Z11; \
	VPXORD Z12, Z12, Z12; \
	VPXORD Z13, Z13, Z13; \
	VPXORD Z14, Z14, Z14; \
	VPXORD Z15, Z15, Z15

// UNSIGNED and SIGNED add a column's sums, times both scales, to its results, and the minima.
#define UNSIGNED(sums, scale, total, results) \
	VCVTDQ2PS sums, Z16; \
	VMULPS.BCST scale, Z26, Z17; \
	VFMADD231PS Z17, Z16, results; \
	VFMADD231PS.BCST total, Z27, results

#define SIGNED(sums, scale, total, results) \
	VCVTDQ2PS sums, Z16; \
	VMULPS.BCST scale, Z26, Z17; \
	VFMADD231PS Z17, Z16, results

#define FOUR(ONE, at, x, a, b, c, d) \
	ONE(at(SI), 32(x), 36(x), a); \
	ONE(at+64(SI), 32(x)(BX*1), 36(x)(BX*1), b); \
	ONE(at+128(SI), 32(x)(BX*2), 36(x)(BX*2), c); \
	ONE(at+192(SI), 32(x)(R12*1), 36(x)(R12*1), d)

#define SCALE(ONE, at) \
	FOUR(ONE, at, AX, Z0, Z1, Z2, Z3); \
	FOUR(ONE, at+256, R9, Z4, Z5, Z6, Z7); \
	FOUR(ONE, at+512, R10, Z8, Z9, Z10, Z11); \
	FOUR(ONE, at+768, R11, Z12, Z13, Z14, Z15)

#define ADVANCE \
	ADDQ $48, AX; \
	ADDQ $48, R9; \
	ADDQ $48, R10; \
	ADDQ $48, R11

// PUT writes a column's results, added to what is there or not.
#define PUT(at, results) \
	MOVQ at(R15), R13; \
	VADDPS (R13)(R14*1), results, K1, results; \
	VMOVUPS results, (R13)(R14*1)

#define STORE \
	PUT(0, Z0); \
	PUT(24, Z1); \
	PUT(48, Z2); \
	PUT(72, Z3); \
	PUT(96, Z4); \
	PUT(120, Z5); \
	PUT(144, Z6); \
	PUT(168, Z7); \
	PUT(192, Z8); \
	PUT(216, Z9); \
	PUT(240, Z10); \
	PUT(264, Z11); \
	PUT(288, Z12); \
	PUT(312, Z13); \
	PUT(336, Z14); \
	PUT(360, Z15)

// GROUPS multiplies a panel, of whose weights DX says where they are, with all columns, sixteen
// at a time; a block of weights takes STEP bytes.
#define GROUPS(STEP, FROM, EVEN, ODD, SCALES, ONE) \
	COLUMNS; \
group: \
	ZERO; \
	FROM; \
	ZEROEVEN; \
	WEIGHTSFIRST; \
	COLUMNSFIRST; \
	EVEN; \
	STOREEVEN; \
even: \
	DECQ R13; \
	JZ lasteven; \
	ZEROODD; \
	WEIGHTSODD(STEP); \
	COLUMNSODD; \
	ODD; \
	STOREODD; \
lasteven: \
	SCALES; \
	SCALE(ONE, 0); \
	ADDQ $STEP, DX; \
	ADVANCE; \
	TESTQ R13, R13; \
	JZ done; \
	DECQ R13; \
	JZ lastodd; \
	ZEROEVEN; \
	WEIGHTSEVEN(STEP); \
	COLUMNSEVEN; \
	EVEN; \
	STOREEVEN; \
lastodd: \
	SCALES; \
	SCALE(ONE, 1024); \
	ADDQ $STEP, DX; \
	ADVANCE; \
	TESTQ R13, R13; \
	JNZ even; \
done: \
	STORE; \
	IMUL3Q $16, BX, R13; \
	ADDQ R13, 328(DI); \
	ADDQ $384, R15; \
	CMPQ R15, 336(DI); \
	JLT group

// UNPACK brings 64 bytes of nibbles to where the weights are multiplied.
#define UNPACK(i) \
	VMOVDQU64 64*i(SI), Z17; \
	VPANDD Z31, Z17, Z16; \
	VPSRLW $4, Z17, Z17; \
	VPANDD Z31, Z17, Z17; \
	VMOVDQA64 Z16, 64*i(DX); \
	VMOVDQA64 Z17, 64*i+256(DX)

#define SIXTEENHALVES(off, to) \
	VMOVDQU32 off(SI), X26; \
	VINSERTI32X4 $1, off+32(SI), Y26, Y26; \
	VCVTPH2PS Y26, Z26; \
	VMOVAPS Z26, to(DX)

#define UNPACKED LEAQ 2048(SI), DX
#define UNPACKEDSCALES \
	VMOVAPS 512(DX), Z26; \
	VMOVAPS 576(DX), Z27

// MULU4 multiplies matrices of nibbles. A panel is unpacked once for all columns: for each block 512
// bytes of weights, as a tile takes them, sixteen scales and sixteen minima.
#define MULU4 \
	START; \
	MOVL $0x0f0f0f0f, R13; \
	VPBROADCASTD R13, Z31; \
panel: \
	MOVQ 344(DI), SI; \
	MOVQ 304(DI), DX; \
	ADDQ $2048, DX; \
	MOVQ 16(DI), R13; \
unpack: \
	PREFETCHT0 2048(SI); \
	PREFETCHT0 2112(SI); \
	PREFETCHT0 2176(SI); \
	PREFETCHT0 2240(SI); \
	PREFETCHT0 2304(SI); \
	UNPACK(0); \
	UNPACK(1); \
	UNPACK(2); \
	UNPACK(3); \
	SIXTEENHALVES(256, 512); \
	SIXTEENHALVES(272, 576); \
	ADDQ $320, SI; \
	ADDQ $640, DX; \
	DECQ R13; \
	JNZ unpack; \
	MOVQ SI, 344(DI); \
	MOVQ 304(DI), SI; \
	GROUPS(640, UNPACKED, EVENUNSIGNED, ODDUNSIGNED, UNPACKEDSCALES, UNSIGNED); \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	RELEASE; \
	VZEROUPPER; \
	RET

#define INPLACE MOVQ 344(DI), DX
#define HALFSCALES VCVTPH2PS 512(DX), Z26

// MULS8 multiplies matrices of signed bytes, which lie as a tile takes them. The next panel is asked
// for while this one is multiplied.
#define MULS8 \
	START; \
	MOVQ 304(DI), SI; \
panel: \
	IMUL3Q $544, 16(DI), R13; \
	MOVQ 344(DI), DX; \
	ADDQ R13, DX; \
	LEAQ (DX)(R13*1), R13; \
ahead: \
	PREFETCHT1 (DX); \
	PREFETCHT1 64(DX); \
	PREFETCHT1 128(DX); \
	PREFETCHT1 192(DX); \
	ADDQ $256, DX; \
	CMPQ DX, R13; \
	JLT ahead; \
	GROUPS(544, INPLACE, EVENSIGNED, ODDSIGNED, HALFSCALES, SIGNED); \
	MOVQ DX, 344(DI); \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	RELEASE; \
	VZEROUPPER; \
	RET

// func mulU4AMX(t *tile)
TEXT ·mulU4AMX(SB), NOSPLIT, $0-8
	MULU4

// func mulS8AMX(t *tile)
TEXT ·mulS8AMX(SB), NOSPLIT, $0-8
	MULS8
