#include "textflag.h"
#include "exp_amd64.h"

DATA tiny<>+0(SB)/4, $0x0da24260 // 1e-30
GLOBL tiny<>(SB), RODATA|NOPTR, $4
DATA most<>+0(SB)/4, $0x42fe0000 // 127
GLOBL most<>(SB), RODATA|NOPTR, $4
DATA mostWords<>+0(SB)/4, $0x46fefe00 // 32639
GLOBL mostWords<>(SB), RODATA|NOPTR, $4
DATA order<>+0(SB)/8, $0x0000000400000000
DATA order<>+8(SB)/8, $0x0000000500000001
DATA order<>+16(SB)/8, $0x0000000600000002
DATA order<>+24(SB)/8, $0x0000000700000003
GLOBL order<>(SB), RODATA|NOPTR, $32

// SCALED loads a block and turns it to integers in Y0 to Y3; X6 gets the scale, zero for a block
// of nothing. X12 is the largest integer, X13 the least number that is not nothing.
#define SCALED(nothing) \
	VMOVUPS (SI), Y0; \
	VMOVUPS 32(SI), Y1; \
	VMOVUPS 64(SI), Y2; \
	VMOVUPS 96(SI), Y3; \
	VANDPS Y15, Y0, Y4; \
	VANDPS Y15, Y1, Y5; \
	VANDPS Y15, Y2, Y6; \
	VANDPS Y15, Y3, Y7; \
	VMAXPS Y5, Y4, Y4; \
	VMAXPS Y7, Y6, Y6; \
	VMAXPS Y6, Y4, Y4; \
	MAX8(Y4, X4, X5); \
	VXORPS X6, X6, X6; \
	VXORPS X7, X7, X7; \
	VUCOMISS X13, X4; \
	JB nothing; \
	VDIVSS X12, X4, X6; \
	VDIVSS X4, X12, X7; \
nothing: \
	VBROADCASTSS X7, Y7; \
	VMULPS Y7, Y0, Y0; \
	VMULPS Y7, Y1, Y1; \
	VMULPS Y7, Y2, Y2; \
	VMULPS Y7, Y3, Y3; \
	VCVTPS2DQ Y0, Y0; \
	VCVTPS2DQ Y1, Y1; \
	VCVTPS2DQ Y2, Y2; \
	VCVTPS2DQ Y3, Y3; \
	VPADDD Y1, Y0, Y4; \
	VPADDD Y3, Y2, Y5; \
	VPADDD Y5, Y4, Y4; \
	VPACKSSDW Y1, Y0, Y0; \
	VPACKSSDW Y3, Y2, Y2

// TOTALS writes the scale, and the scale times the sum of the integers, which it leaves in X4.
#define TOTALS(at) \
	VMOVSS X6, at(DI); \
	VEXTRACTI128 $1, Y4, X5; \
	VPADDD X5, X4, X4; \
	VPSHUFD $0x4e, X4, X5; \
	VPADDD X5, X4, X4; \
	VPSHUFD $0xb1, X4, X5; \
	VPADDD X5, X4, X4; \
	VCVTDQ2PS X4, X5; \
	VMULSS X6, X5, X5; \
	VMOVSS X5, at+4(DI)

// func quantizeAVX2(dst *byte, src *float32, blocks int)
TEXT ·quantizeAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), R8
	VMOVUPS absolute<>(SB), Y15
	VMOVDQU order<>(SB), Y14
	VMOVSS tiny<>(SB), X13
	VMOVSS most<>(SB), X12

block:
	SCALED(nothing)
	VPACKSSWB Y2, Y0, Y0
	VPERMD Y0, Y14, Y0
	VMOVDQU Y0, (DI)
	TOTALS(32)
	VPSLLD $7, X4, X4
	VPXOR X5, X5, X5
	VPSUBD X4, X5, X5
	VMOVD X5, 40(DI)
	ADDQ $128, SI
	ADDQ $48, DI
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func quantizeWordsAVX2(dst *byte, src *float32, blocks int)
TEXT ·quantizeWordsAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), R8
	VMOVUPS absolute<>(SB), Y15
	VMOVSS tiny<>(SB), X13
	VMOVSS mostWords<>(SB), X12

block:
	SCALED(nothing)
	VPERMQ $0xd8, Y0, Y0
	VPERMQ $0xd8, Y2, Y2
	VMOVDQU Y0, (DI)
	VMOVDQU Y2, 32(DI)
	TOTALS(64)
	ADDQ $128, SI
	ADDQ $72, DI
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func quantizeHalvesAVX2(dst *byte, src *float32, blocks int)
// A word's low byte, as a signed one, is taken from it; what is left is 256 times its high byte.
TEXT ·quantizeHalvesAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), R8
	VMOVUPS absolute<>(SB), Y15
	VMOVSS tiny<>(SB), X13
	VMOVSS mostWords<>(SB), X12
	VPCMPEQW Y14, Y14, Y14
	VPSRLW $15, Y14, Y14

block:
	SCALED(nothing)
	VPERMQ $0xd8, Y0, Y0
	VPERMQ $0xd8, Y2, Y2
	VPMADDWD Y14, Y0, Y8 // the sums of both sixteens
	VPMADDWD Y14, Y2, Y9
	VPSLLW $8, Y0, Y1
	VPSLLW $8, Y2, Y3
	VPSRAW $8, Y1, Y1
	VPSRAW $8, Y3, Y3
	VPSUBW Y1, Y0, Y0
	VPSUBW Y3, Y2, Y2
	VPSRAW $8, Y0, Y0
	VPSRAW $8, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPACKSSWB Y3, Y1, Y1
	VPERMQ $0xd8, Y0, Y0
	VPERMQ $0xd8, Y1, Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	TOTALS(64)
	VPADDD Y9, Y8, Y8
	VPHADDD Y9, Y8, Y8 // in both lanes: of all, of the second sixteen, in two parts each
	VEXTRACTI128 $1, Y8, X9
	VPADDD X9, X8, X8
	VPSHUFD $0xb1, X8, X9
	VPADDD X9, X8, X8
	VPSHUFD $0x08, X8, X8
	VPSLLD $7, X8, X8
	VMOVQ X8, 72(DI)
	ADDQ $128, SI
	ADDQ $80, DI
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

#define RESIDUE(i) \
	VPMOVSXBD 8*i(DX), Y0; \
	VCVTDQ2PS Y0, Y0; \
	VMOVUPS 32*i(SI), Y1; \
	VFNMADD231PS Y2, Y0, Y1; \
	VMOVUPS Y1, 32*i(DI)

// func residueAVX2(dst, src *float32, quants *byte, blocks int)
TEXT ·residueAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ quants+16(FP), DX
	MOVQ blocks+24(FP), R8

block:
	VBROADCASTSS 32(DX), Y2
	RESIDUE(0)
	RESIDUE(1)
	RESIDUE(2)
	RESIDUE(3)
	ADDQ $48, DX
	ADDQ $128, SI
	ADDQ $128, DI
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func rmsNormAVX2(dst, x, weight *float32, n int, epsilon float32)
TEXT ·rmsNormAVX2(SB), NOSPLIT, $0-36
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ weight+16(FP), DX
	MOVQ n+24(FP), R8
	VXORPS Y0, Y0, Y0
	XORQ R9, R9

square:
	VMOVUPS (SI)(R9*4), Y1
	VFMADD231PS Y1, Y1, Y0
	ADDQ $8, R9
	CMPQ R9, R8
	JLT square

	SUM8(Y0, X0, X1)
	VCVTSI2SSQ R8, X1, X1
	VDIVSS X1, X0, X0
	VADDSS epsilon+32(FP), X0, X0
	VSQRTSS X0, X0, X0
	VMOVSS one<>(SB), X1
	VDIVSS X0, X1, X0
	VBROADCASTSS X0, Y0
	XORQ R9, R9

scale:
	VMULPS (SI)(R9*4), Y0, Y1
	VMULPS (DX)(R9*4), Y1, Y1
	VMOVUPS Y1, (DI)(R9*4)
	ADDQ $8, R9
	CMPQ R9, R8
	JLT scale
	VZEROUPPER
	RET

// func swigluAVX2(dst, gate, up *float32, n int)
TEXT ·swigluAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), DX
	MOVQ n+24(FP), R8
	XORQ R9, R9
	VXORPS Y9, Y9, Y9

next:
	GATE8
	ADDQ $8, R9
	CMPQ R9, R8
	JLT next
	VZEROUPPER
	RET

// func softmaxAVX2(x *float32, n int) (maximum, sum float32)
TEXT ·softmaxAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), R8
	VMOVUPS (SI), Y8
	XORQ R9, R9

largest:
	VMAXPS (SI)(R9*4), Y8, Y8
	ADDQ $8, R9
	CMPQ R9, R8
	JLT largest

	MAX8(Y8, X8, X0)
	VMOVSS X8, maximum+16(FP)
	VBROADCASTSS X8, Y8
	VXORPS Y9, Y9, Y9
	XORQ R9, R9

exponent:
	WEIGHT8
	ADDQ $8, R9
	CMPQ R9, R8
	JLT exponent

	SUM8(Y9, X9, X0)
	VMOVSS X9, sum+20(FP)
	VZEROUPPER
	RET

// func ropePairsAVX2(x, cos, sin *float32, heads, stride, n int)
TEXT ·ropePairsAVX2(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ cos+8(FP), BX
	MOVQ sin+16(FP), CX
	MOVQ heads+24(FP), R8
	MOVQ stride+32(FP), DX
	SHLQ $2, DX
	MOVQ n+40(FP), R10

head:
	XORQ R9, R9

next:
	VMOVUPS (SI)(R9*4), Y0
	VPERMILPS $0xb1, Y0, Y1
	VMULPS (CX)(R9*4), Y1, Y1
	VFMADD231PS (BX)(R9*4), Y0, Y1
	VMOVUPS Y1, (SI)(R9*4)
	ADDQ $8, R9
	CMPQ R9, R10
	JLT next
	ADDQ DX, SI
	DECQ R8
	JNZ head
	VZEROUPPER
	RET

// func ropeHalvesAVX2(x, cos, sin *float32, heads, stride, n int)
TEXT ·ropeHalvesAVX2(SB), NOSPLIT, $0-48
	MOVQ x+0(FP), SI
	MOVQ cos+8(FP), BX
	MOVQ sin+16(FP), CX
	MOVQ heads+24(FP), R8
	MOVQ stride+32(FP), DX
	SHLQ $2, DX
	MOVQ n+40(FP), R10
	SHRQ $1, R10 // elements of a half
	LEAQ (BX)(R10*4), R12
	LEAQ (CX)(R10*4), R13

head:
	XORQ R9, R9
	LEAQ (SI)(R10*4), R11

next:
	VMOVUPS (SI)(R9*4), Y0
	VMOVUPS (R11)(R9*4), Y1
	VMULPS (CX)(R9*4), Y1, Y2
	VFMADD231PS (BX)(R9*4), Y0, Y2
	VMULPS (R13)(R9*4), Y0, Y3
	VFMADD231PS (R12)(R9*4), Y1, Y3
	VMOVUPS Y2, (SI)(R9*4)
	VMOVUPS Y3, (R11)(R9*4)
	ADDQ $8, R9
	CMPQ R9, R10
	JLT next
	ADDQ DX, SI
	DECQ R8
	JNZ head
	VZEROUPPER
	RET

// func toF16AVX2(dst *uint16, src *float32, n int)
TEXT ·toF16AVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), R8
	XORQ R9, R9

next:
	VMOVUPS (SI)(R9*4), Y0
	VMINPS maxf16<>(SB), Y0, Y0
	VMAXPS minf16<>(SB), Y0, Y0
	VCVTPS2PH $0, Y0, (DI)(R9*2)
	ADDQ $8, R9
	CMPQ R9, R8
	JLT next
	VZEROUPPER
	RET

// func toF16ColumnAVX2(dst *uint16, src *float32, n int)
// Like toF16, but one element every 32 bytes: the keys of one token in a block of sixteen.
TEXT ·toF16ColumnAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), R8
	XORQ R9, R9

next:
	VMOVUPS (SI)(R9*4), Y0
	VMINPS maxf16<>(SB), Y0, Y0
	VMAXPS minf16<>(SB), Y0, Y0
	VCVTPS2PH $0, Y0, X0
	VPEXTRW $0, X0, (DI)
	VPEXTRW $1, X0, 32(DI)
	VPEXTRW $2, X0, 64(DI)
	VPEXTRW $3, X0, 96(DI)
	VPEXTRW $4, X0, 128(DI)
	VPEXTRW $5, X0, 160(DI)
	VPEXTRW $6, X0, 192(DI)
	VPEXTRW $7, X0, 224(DI)
	ADDQ $256, DI
	ADDQ $8, R9
	CMPQ R9, R8
	JLT next
	VZEROUPPER
	RET

// func pauseAMD64(n int)
TEXT ·pauseAMD64(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX

again:
	PAUSE
	DECQ CX
	JNZ again
	RET

// func prefetchAMD64(p *byte, lines int)
TEXT ·prefetchAMD64(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ lines+8(FP), CX

next:
	PREFETCHT1 (SI)
	ADDQ $64, SI
	DECQ CX
	JNZ next
	RET

// func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET
