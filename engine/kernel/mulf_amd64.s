#include "textflag.h"
#include "macros_amd64.h"

// Matrices of floats: panels of sixteen rows, element by element.
// The tile's fields: 0 w, 8 panels, 16 blocks (here: elements), 24 add, 32 out[16], 160 x[16].

#define LOADF32 \
	VMOVUPS (SI), Y8; \
	VMOVUPS 32(SI), Y9

#define LOADF16 \
	VCVTPH2PS (SI), Y8; \
	VCVTPH2PS 16(SI), Y9

#define LOADBF16 \
	VPMOVZXWD (SI), Y8; \
	VPMOVZXWD 16(SI), Y9; \
	VPSLLD $16, Y8, Y8; \
	VPSLLD $16, Y9, Y9

#define MULF4(LOAD, STEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 32(DI), R9; \
	MOVQ 40(DI), R10; \
	MOVQ 48(DI), R11; \
	MOVQ 56(DI), R12; \
	MOVQ 160(DI), AX; \
	MOVQ 168(DI), BX; \
	MOVQ 176(DI), CX; \
	MOVQ 184(DI), DX; \
panel: \
	XORQ R13, R13; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7; \
element: \
	LOAD; \
	FMA2(AX, Y10, Y0, Y1); \
	FMA2(BX, Y11, Y2, Y3); \
	FMA2(CX, Y12, Y4, Y5); \
	FMA2(DX, Y13, Y6, Y7); \
	ADDQ $STEP, SI; \
	INCQ R13; \
	CMPQ R13, 16(DI); \
	JLT element; \
	CMPQ 24(DI), $0; \
	JEQ store; \
	VADDPS (R9), Y0, Y0; \
	VADDPS 32(R9), Y1, Y1; \
	VADDPS (R10), Y2, Y2; \
	VADDPS 32(R10), Y3, Y3; \
	VADDPS (R11), Y4, Y4; \
	VADDPS 32(R11), Y5, Y5; \
	VADDPS (R12), Y6, Y6; \
	VADDPS 32(R12), Y7, Y7; \
store: \
	VMOVUPS Y0, (R9); \
	VMOVUPS Y1, 32(R9); \
	VMOVUPS Y2, (R10); \
	VMOVUPS Y3, 32(R10); \
	VMOVUPS Y4, (R11); \
	VMOVUPS Y5, 32(R11); \
	VMOVUPS Y6, (R12); \
	VMOVUPS Y7, 32(R12); \
	ADDQ $64, R9; \
	ADDQ $64, R10; \
	ADDQ $64, R11; \
	ADDQ $64, R12; \
	DECQ R8; \
	JNZ panel; \
	VZEROUPPER; \
	RET

#define MULF1(LOAD, STEP) \
	MOVQ t+0(FP), DI; \
	MOVQ 0(DI), SI; \
	MOVQ 8(DI), R8; \
	MOVQ 16(DI), BX; \
	MOVQ 32(DI), R9; \
	MOVQ 160(DI), AX; \
panel: \
	XORQ R13, R13; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
element: \
	LOAD; \
	FMA2(AX, Y10, Y0, Y1); \
	ADDQ $STEP, SI; \
	INCQ R13; \
	CMPQ R13, BX; \
	JLT element; \
	CMPQ 24(DI), $0; \
	JEQ store; \
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

// func mulF32x4AVX2(t *tile)
TEXT ·mulF32x4AVX2(SB), NOSPLIT, $0-8
	MULF4(LOADF32, 64)

// func mulF32x1AVX2(t *tile)
TEXT ·mulF32x1AVX2(SB), NOSPLIT, $0-8
	MULF1(LOADF32, 64)

// func mulF16x4AVX2(t *tile)
TEXT ·mulF16x4AVX2(SB), NOSPLIT, $0-8
	MULF4(LOADF16, 32)

// func mulF16x1AVX2(t *tile)
TEXT ·mulF16x1AVX2(SB), NOSPLIT, $0-8
	MULF1(LOADF16, 32)

// func mulBF16x4AVX2(t *tile)
TEXT ·mulBF16x4AVX2(SB), NOSPLIT, $0-8
	MULF4(LOADBF16, 32)

// func mulBF16x1AVX2(t *tile)
TEXT ·mulBF16x1AVX2(SB), NOSPLIT, $0-8
	MULF1(LOADBF16, 32)
