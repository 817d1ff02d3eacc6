#include "textflag.h"
#include "macros_amd64.h"

// Matrices of nibbles: panels of sixteen rows, eight at a time, blocks of 32 elements.
// The tile's fields: 0 w, 8 panels, 16 blocks, 24 add, 32 out[16], 160 x[16].

#define GROUP4(i) \
	UNPACK(64*i); \
	NEXT4(4*i, AX, Y9, Y4, Y10); \
	NEXT4(4*i, BX, Y9, Y5, Y11); \
	NEXT4(4*i, CX, Y9, Y6, Y12); \
	NEXT4(4*i, DX, Y9, Y7, Y13); \
	NEXT4(4*i+16, AX, Y8, Y4, Y10); \
	NEXT4(4*i+16, BX, Y8, Y5, Y11); \
	NEXT4(4*i+16, CX, Y8, Y6, Y12); \
	NEXT4(4*i+16, DX, Y8, Y7, Y13)

#define GROUP1(i) \
	UNPACK(64*i); \
	NEXT4(4*i, AX, Y9, Y4, Y10); \
	NEXT4(4*i+16, AX, Y8, Y5, Y11)

// MULU4X4 multiplies with four columns; SCALES loads the scales of a block of STEP bytes.
#define MULU4X4(SCALES, STEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 32(DI), R9; \
	MOVQ 40(DI), R10; \
	MOVQ 48(DI), R11; \
	MOVQ 56(DI), R12; \
	MOVQ 24(DI), R14; \
	NIBBLES(Y14); \
	ONES(Y15); \
	XORQ R15, R15; \
panel: \
	MOVQ 160(DI), AX; \
	MOVQ 168(DI), BX; \
	MOVQ 176(DI), CX; \
	MOVQ 184(DI), DX; \
	MOVQ 16(DI), R13; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
block: \
	AHEAD4; \
	UNPACK(0); \
	FIRST4(0, AX, Y9, Y4); \
	FIRST4(0, BX, Y9, Y5); \
	FIRST4(0, CX, Y9, Y6); \
	FIRST4(0, DX, Y9, Y7); \
	NEXT4(16, AX, Y8, Y4, Y10); \
	NEXT4(16, BX, Y8, Y5, Y11); \
	NEXT4(16, CX, Y8, Y6, Y12); \
	NEXT4(16, DX, Y8, Y7, Y13); \
	GROUP4(1); \
	GROUP4(2); \
	GROUP4(3); \
	SCALES(256); \
	SCALE4(AX, Y4, Y0); \
	SCALE4(BX, Y5, Y1); \
	SCALE4(CX, Y6, Y2); \
	SCALE4(DX, Y7, Y3); \
	ADDQ $STEP, SI; \
	ADDQ $48, AX; \
	ADDQ $48, BX; \
	ADDQ $48, CX; \
	ADDQ $48, DX; \
	DECQ R13; \
	JNZ block; \
	TESTQ R14, R14; \
	JZ store; \
	VADDPS (R9), Y0, Y0; \
	VADDPS (R10), Y1, Y1; \
	VADDPS (R11), Y2, Y2; \
	VADDPS (R12), Y3, Y3; \
store: \
	VMOVUPS Y0, (R9); \
	VMOVUPS Y1, (R10); \
	VMOVUPS Y2, (R11); \
	VMOVUPS Y3, (R12); \
	ADDQ $32, R9; \
	ADDQ $32, R10; \
	ADDQ $32, R11; \
	ADDQ $32, R12; \
	HALFPANEL(STEP, panel); \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// MULU4X1 multiplies with one column.
#define MULU4X1(SCALES, STEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 32(DI), R9; \
	MOVQ 24(DI), R14; \
	NIBBLES(Y14); \
	ONES(Y15); \
	XORQ R15, R15; \
panel: \
	MOVQ 160(DI), AX; \
	MOVQ 16(DI), R13; \
	VXORPS Y0, Y0, Y0; \
block: \
	AHEAD4; \
	UNPACK(0); \
	FIRST4(0, AX, Y9, Y4); \
	FIRST4(16, AX, Y8, Y5); \
	GROUP1(1); \
	GROUP1(2); \
	GROUP1(3); \
	VPADDW Y5, Y4, Y4; \
	SCALES(256); \
	SCALE4(AX, Y4, Y0); \
	ADDQ $STEP, SI; \
	ADDQ $48, AX; \
	DECQ R13; \
	JNZ block; \
	TESTQ R14, R14; \
	JZ store; \
	VADDPS (R9), Y0, Y0; \
store: \
	VMOVUPS Y0, (R9); \
	ADDQ $32, R9; \
	HALFPANEL(STEP, panel); \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

// func mulU4x4AVX2(t *tile)
TEXT ·mulU4x4AVX2(SB), NOSPLIT, $0-8
	MULU4X4(HALFSCALES, 320)

// func mulU4x1AVX2(t *tile)
TEXT ·mulU4x1AVX2(SB), NOSPLIT, $0-8
	MULU4X1(HALFSCALES, 320)

// func mulU4Kx4AVX2(t *tile)
TEXT ·mulU4Kx4AVX2(SB), NOSPLIT, $0-8
	MULU4X4(KSCALES, 352)

// func mulU4Kx1AVX2(t *tile)
TEXT ·mulU4Kx1AVX2(SB), NOSPLIT, $0-8
	MULU4X1(KSCALES, 352)
