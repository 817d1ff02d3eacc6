// Words of the attention kernels. By convention: DI the span, R14 the table's next block, R8 blocks that
// are left, SI what is read, R15 its scales, R13 a count within the block; AX BX CX DX the four inputs, R9
// R10 R11 R12 the four outputs.
// The span's fields: 0 base, 8 table, 16 blocks, 24 blockBytes, 32 dim, 40 last, 48 in[8], 112 out[8],
// 176 scales, 184 scaleStep, 192 after[2].

// OPEN begins with a span, INPUTS and OUTPUTS find its vectors.
#define OPEN \
	MOVQ s+0(FP), DI; \
	MOVQ 8(DI), R14; \
	MOVQ 16(DI), R8

#define INPUTS \
	MOVQ 48(DI), AX; \
	MOVQ 56(DI), BX; \
	MOVQ 64(DI), CX; \
	MOVQ 72(DI), DX

#define OUTPUTS \
	MOVQ 112(DI), R9; \
	MOVQ 120(DI), R10; \
	MOVQ 128(DI), R11; \
	MOVQ 136(DI), R12

// HALFBLOCK finds the keys or values of a block, BYTEBLOCK the bytes and the scales of one.
#define HALFBLOCK \
	MOVLQSX (R14), SI; \
	IMULQ 24(DI), SI; \
	ADDQ 0(DI), SI; \
	XORQ R13, R13

#define BYTEBLOCK \
	MOVLQSX (R14), R15; \
	IMULQ 24(DI), R15; \
	MOVQ 0(DI), SI; \
	ADDQ R15, SI; \
	ADDQ 176(DI), R15; \
	XORQ R13, R13

// NEXTOUTPUTS and NEXTINPUTS go on to the next block and its sixteen tokens.
#define NEXTOUTPUTS \
	ADDQ $64, R9; \
	ADDQ $64, R10; \
	ADDQ $64, R11; \
	ADDQ $64, R12; \
	ADDQ $4, R14

#define NEXTINPUTS \
	ADDQ $64, AX; \
	ADDQ $64, BX; \
	ADDQ $64, CX; \
	ADDQ $64, DX; \
	ADDQ $4, R14

// With AVX2, a result of sixteen numbers takes two registers.
#define CLEARALL \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7

#define STOREALL \
	VMOVUPS Y0, (R9); \
	VMOVUPS Y1, 32(R9); \
	VMOVUPS Y2, (R10); \
	VMOVUPS Y3, 32(R10); \
	VMOVUPS Y4, (R11); \
	VMOVUPS Y5, 32(R11); \
	VMOVUPS Y6, (R12); \
	VMOVUPS Y7, 32(R12)

#define FMAS \
	FMA2(AX, Y10, Y0, Y1); \
	FMA2(BX, Y11, Y2, Y3); \
	FMA2(CX, Y12, Y4, Y5); \
	FMA2(DX, Y13, Y6, Y7)
