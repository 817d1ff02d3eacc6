// Words of the kernels with AVX-512 VNNI. By convention: DI the tile, SI the weights, R8 panels that
// are left, R13 blocks that are left, R14 where in the results the panel's are; AX BX CX DX R9 R10 R11
// R12 the activations of eight columns, Z0 to Z7 their results, Z8 to Z15 and Z16 to Z23 their integer sums.
// The tile's fields: 0 w, 8 panels, 16 blocks, 24 add, 32 out[16], 160 x[16]; for MANY there are more.

#define START \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	XORQ R14, R14

// AHEAD5 and AHEAD9 ask for the weights that come some blocks later.
#define DISTANCE 2048
#define AHEAD5 \
	PREFETCHT0 DISTANCE(SI); \
	PREFETCHT0 DISTANCE+64(SI); \
	PREFETCHT0 DISTANCE+128(SI); \
	PREFETCHT0 DISTANCE+192(SI); \
	PREFETCHT0 DISTANCE+256(SI)

#define AHEAD9 \
	AHEAD5; \
	PREFETCHT0 DISTANCE+320(SI); \
	PREFETCHT0 DISTANCE+384(SI); \
	PREFETCHT0 DISTANCE+448(SI); \
	PREFETCHT0 DISTANCE+512(SI)

// COLUMNS load where the activations of so many columns begin.
#define COLUMNS1 \
	MOVQ 160(DI), AX

#define COLUMNS2 \
	COLUMNS1; \
	MOVQ 168(DI), BX

#define COLUMNS4 \
	COLUMNS2; \
	MOVQ 176(DI), CX; \
	MOVQ 184(DI), DX

#define COLUMNS8 \
	COLUMNS4; \
	MOVQ 192(DI), R9; \
	MOVQ 200(DI), R10; \
	MOVQ 208(DI), R11; \
	MOVQ 216(DI), R12

// EACH has something done for so many columns, by a macro that gets: a number of the caller's, the
// column's activations, its two integer sums (a kernel that needs one leaves the second) and its result.
#define COLUMN0(DO, n) DO(n, AX, Z8, Z16, Z0)
#define COLUMN1(DO, n) DO(n, BX, Z9, Z17, Z1)
#define COLUMN2(DO, n) DO(n, CX, Z10, Z18, Z2)
#define COLUMN3(DO, n) DO(n, DX, Z11, Z19, Z3)
#define COLUMN4(DO, n) DO(n, R9, Z12, Z20, Z4)
#define COLUMN5(DO, n) DO(n, R10, Z13, Z21, Z5)
#define COLUMN6(DO, n) DO(n, R11, Z14, Z22, Z6)
#define COLUMN7(DO, n) DO(n, R12, Z15, Z23, Z7)

#define EACH1(DO, n) \
	COLUMN0(DO, n)

#define EACH2(DO, n) \
	EACH1(DO, n); \
	COLUMN1(DO, n)

#define EACH4(DO, n) \
	EACH2(DO, n); \
	COLUMN2(DO, n); \
	COLUMN3(DO, n)

#define EACH8(DO, n) \
	EACH4(DO, n); \
	COLUMN4(DO, n); \
	COLUMN5(DO, n); \
	COLUMN6(DO, n); \
	COLUMN7(DO, n)

// ZERO, SUM and LOW clear a result and its sums; ADVANCE goes n bytes on to the next block.
#define ZERO(n, x, sum, low, result) \
	VPXORD result, result, result

#define SUM(n, x, sum, low, result) \
	VPXORD sum, sum, sum

#define LOW(n, x, sum, low, result) \
	VPXORD low, low, low

#define ADVANCE(n, x, sum, low, result) \
	ADDQ $n, x

// ADDS sets the mask of the lanes to which what is there is added: all or none. All columns are added
// before any is stored, since the last one may stand there several times.
#define ADDS \
	XORQ R13, R13; \
	SUBQ 24(DI), R13; \
	KMOVW R13, K1

#define ADD(n, z) \
	MOVQ 32+8*n(DI), R13; \
	VADDPS (R13)(R14*1), z, K1, z

#define PUT(n, z) \
	MOVQ 32+8*n(DI), R13; \
	VMOVUPS z, (R13)(R14*1)

#define ADD1 \
	ADD(0, Z0)

#define ADD2 \
	ADD1; \
	ADD(1, Z1)

#define ADD4 \
	ADD2; \
	ADD(2, Z2); \
	ADD(3, Z3)

#define ADD8 \
	ADD4; \
	ADD(4, Z4); \
	ADD(5, Z5); \
	ADD(6, Z6); \
	ADD(7, Z7)

#define PUT1 \
	PUT(0, Z0)

#define PUT2 \
	PUT1; \
	PUT(1, Z1)

#define PUT4 \
	PUT2; \
	PUT(2, Z2); \
	PUT(3, Z3)

#define PUT8 \
	PUT4; \
	PUT(4, Z4); \
	PUT(5, Z5); \
	PUT(6, Z6); \
	PUT(7, Z7)

// STORE writes the results of so many columns.
#define STORE1 \
	ADDS; \
	ADD1; \
	PUT1

#define STORE2 \
	ADDS; \
	ADD2; \
	PUT2

#define STORE4 \
	ADDS; \
	ADD4; \
	PUT4

#define STORE8 \
	ADDS; \
	ADD8; \
	PUT8

// OWN asks for the lines that the results will be written to, which another core has written last or
// read: the sums of a whole panel are computed until then. The assembler does not know PREFETCHW.
#define OWN(n) \
	MOVQ 32+8*n(DI), R13; \
	BYTE $0x43; BYTE $0x0F; BYTE $0x0D; BYTE $0x4C; BYTE $0x35; BYTE $0x00

// OWN8 begins a panel of eight columns: there it is worth it.
#define OWN8 \
	OWN(0); \
	OWN(1); \
	OWN(2); \
	OWN(3); \
	OWN(4); \
	OWN(5); \
	OWN(6); \
	OWN(7); \
	COLUMNS8

// MUL multiplies panels with so many columns by BLOCKS, which is INORDER or TURNS with its arguments.
// BYTES are what Z31 holds sixty-four of.
#define MUL(BYTES, BLOCKS, COLUMNS, EACH, STORE) \
	START; \
	MOVL $BYTES, R13; \
	VPBROADCASTD R13, Z31; \
panel: \
	COLUMNS; \
	EACH(ZERO, 0); \
	MOVQ 16(DI), R13; \
	BLOCKS; \
	STORE; \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// INORDER multiplies a panel's blocks, R13 of them, one after the other: BLOCK, of STEP bytes of
// weights and MOVE of activations. AHEAD is done once a block.
#define INORDER(AHEAD, BLOCK, STEP, MOVE, EACH) \
block: \
	AHEAD; \
	BLOCK(EACH); \
	ADDQ $STEP, SI; \
	EACH(ADVANCE, MOVE); \
	DECQ R13; \
	JNZ block

// TURNS multiplies eight columns with a panel's blocks, R13 of them, so that while one block is summed
// the one before it is scaled: a sum waits five cycles for its own last step, and the CPU does not look far
// enough ahead to find the next block's. Two sets of sums take turns: FIRST sums a block into the even
// ones, ODD into the odd ones while it scales the even ones, EVEN the other way round; LASTEVEN and
// LASTODD scale what is left.
#define TURNS(AHEAD, FIRST, ODD, EVEN, LASTEVEN, LASTODD, STEP, MOVE) \
	AHEAD; \
	FIRST; \
	ADDQ $STEP, SI; \
	EACH8(ADVANCE, MOVE); \
odd: \
	DECQ R13; \
	JZ lasteven; \
	AHEAD; \
	ODD; \
	ADDQ $STEP, SI; \
	EACH8(ADVANCE, MOVE); \
	DECQ R13; \
	JZ lastodd; \
	AHEAD; \
	EVEN; \
	ADDQ $STEP, SI; \
	EACH8(ADVANCE, MOVE); \
	JMP odd; \
lasteven: \
	LASTEVEN; \
	JMP summed; \
lastodd: \
	LASTODD; \
summed:

// MANY multiplies panels with any multiple of eight columns that lie one after the other: a panel
// at a time with all of them, so that while they are computed the next panel comes from memory. Of
// that, a block asks for what is its share when all columns have been: ASK, at R15.
// The tile's fields: 288 columns, 296 stride, 312 vectors, 320 offset, and to keep: 328 columns that
// are left, 336 their vectors, 344 the share.
#define ASK(n) PREFETCHT0 64*(n)(R15)
#define ASK3 \
	ASK(0); \
	ASK(1); \
	ASK(2); \
	ADDQ 344(DI), R15

#define ASK5 \
	ASK(3); \
	ASK(4); \
	ASK3

// FINISH adds to a column's result what is there, if that is asked for, and writes it.
#define FINISH(n, z) \
	MOVQ 24*n(AX), BX; \
	VADDPS (BX)(R14*1), z, K1, z; \
	VMOVUPS z, (BX)(R14*1)

// OWNMANY is OWN for one of a group's vectors.
#define OWNMANY(n) \
	MOVQ 24*n(AX), BX; \
	BYTE $0x42; BYTE $0x0F; BYTE $0x0D; BYTE $0x0C; BYTE $0x33

#define MANY(BYTES, STEP, MOVE, BLOCKS) \
	START; \
	MOVQ 320(DI), R14; \
	MOVL $BYTES, R13; \
	VPBROADCASTD R13, Z31; \
	ADDS; \
	MOVQ $(8*STEP), AX; \
	XORQ DX, DX; \
	DIVQ 288(DI); \
	INCQ AX; \
	MOVQ AX, 344(DI); \
panel: \
	MOVQ 312(DI), AX; \
	MOVQ AX, 336(DI); \
	MOVQ 288(DI), AX; \
	MOVQ AX, 328(DI); \
	MOVQ 160(DI), R12; \
	MOVQ 16(DI), R15; \
	IMULQ $STEP, R15; \
	ADDQ SI, R15; \
group: \
	MOVQ 336(DI), AX; \
	OWNMANY(0); \
	OWNMANY(1); \
	OWNMANY(2); \
	OWNMANY(3); \
	OWNMANY(4); \
	OWNMANY(5); \
	OWNMANY(6); \
	OWNMANY(7); \
	MOVQ 296(DI), R13; \
	MOVQ R12, AX; \
	LEAQ (AX)(R13*1), BX; \
	LEAQ (AX)(R13*2), CX; \
	LEAQ (BX)(R13*2), DX; \
	LEAQ (AX)(R13*4), R9; \
	LEAQ (BX)(R13*4), R10; \
	LEAQ (CX)(R13*4), R11; \
	LEAQ (DX)(R13*4), R12; \
	EACH8(ZERO, 0); \
	MOVQ 16(DI), R13; \
	BLOCKS; \
	MOVQ 336(DI), AX; \
	FINISH(0, Z0); \
	FINISH(1, Z1); \
	FINISH(2, Z2); \
	FINISH(3, Z3); \
	FINISH(4, Z4); \
	FINISH(5, Z5); \
	FINISH(6, Z6); \
	FINISH(7, Z7); \
	ADDQ $192, 336(DI); \
	SUBQ $8, 328(DI); \
	JZ next; \
	MOVQ 16(DI), R13; \
	IMULQ $STEP, R13; \
	SUBQ R13, SI; \
	MOVQ 16(DI), R13; \
	IMULQ $MOVE, R13; \
	SUBQ R13, R12; \
	ADDQ 296(DI), R12; \
	JMP group; \
next: \
	ADDQ $64, R14; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET
