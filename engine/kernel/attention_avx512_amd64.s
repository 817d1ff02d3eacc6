#include "textflag.h"
#include "span_amd64.h"

// Attention with AVX-512: like that with AVX2, one register for sixteen tokens or elements.

#define CLEAR4 \
	VPXORD Z0, Z0, Z0; \
	VPXORD Z1, Z1, Z1; \
	VPXORD Z2, Z2, Z2; \
	VPXORD Z3, Z3, Z3

#define FMA4(off) \
	VFMADD231PS.BCST off(AX)(R13*4), Z8, Z0; \
	VFMADD231PS.BCST off(BX)(R13*4), Z8, Z1; \
	VFMADD231PS.BCST off(CX)(R13*4), Z8, Z2; \
	VFMADD231PS.BCST off(DX)(R13*4), Z8, Z3

#define STORE4 \
	VMOVUPS Z0, (R9); \
	VMOVUPS Z1, (R10); \
	VMOVUPS Z2, (R11); \
	VMOVUPS Z3, (R12)

// AFTER finds where in memory the next block is, or this one again if it is the last: its keys or
// values are asked for while this one's are computed with, since blocks lie anywhere.
#define AFTER \
	MOVQ R14, R15; \
	CMPQ R8, $1; \
	JE found; \
	ADDQ $4, R15; \
found: \
	MOVLQSX (R15), R15; \
	IMULQ 24(DI), R15; \
	ADDQ 0(DI), R15

// SCORE multiplies an element of two blocks' keys with that of four queries: eight sums, since with
// four the CPU would wait for each.
#define SCORE(i) \
	PREFETCHT0 64*(i/2)(R10); \
	VCVTPH2PS 32*i(SI), Z8; \
	VCVTPH2PS 32*i(R9), Z9; \
	FMA4(4*i); \
	VFMADD231PS.BCST 4*i(AX)(R13*4), Z9, Z4; \
	VFMADD231PS.BCST 4*i(BX)(R13*4), Z9, Z5; \
	VFMADD231PS.BCST 4*i(CX)(R13*4), Z9, Z6; \
	VFMADD231PS.BCST 4*i(DX)(R13*4), Z9, Z7

// BLOCKAT finds where in memory the keys of the block of this number are.
#define BLOCKAT(number, to) \
	MOVLQSX number, to; \
	IMULQ 24(DI), to; \
	ADDQ 0(DI), to

#define PUT(n, z) \
	MOVQ 112+8*n(DI), R13; \
	VMOVUPS z, (R13)(R11*1)

// func scoresAVX512(s *span)
// Two blocks at a time: SI and R9. R10 and R15 are what comes after them, R11 how far the results are.
TEXT ·scoresAVX512(SB), NOSPLIT, $0-8
	OPEN
	INPUTS
	XORQ R11, R11

blocks:
	BLOCKAT(0(R14), SI)
	MOVQ SI, R9
	MOVQ 192(DI), R10
	MOVQ 200(DI), R15
	CMPQ R8, $2
	JLT found
	BLOCKAT(4(R14), R9)
	CMPQ R8, $3
	JLT found
	BLOCKAT(8(R14), R10)
	MOVQ R10, R15
	CMPQ R8, $4
	JLT found
	BLOCKAT(12(R14), R15)

found:
	XORQ R13, R13
	CLEAR4
	VPXORD Z4, Z4, Z4
	VPXORD Z5, Z5, Z5
	VPXORD Z6, Z6, Z6
	VPXORD Z7, Z7, Z7

element: // eight of them: heads have multiples of that
	PREFETCHT0 (R15)
	PREFETCHT0 64(R15)
	PREFETCHT0 128(R15)
	PREFETCHT0 192(R15)
	SCORE(0)
	SCORE(1)
	SCORE(2)
	SCORE(3)
	SCORE(4)
	SCORE(5)
	SCORE(6)
	SCORE(7)
	ADDQ $256, SI
	ADDQ $256, R9
	ADDQ $256, R10
	ADDQ $256, R15
	ADDQ $8, R13
	CMPQ R13, 32(DI)
	JLT element

	PUT(0, Z0)
	PUT(1, Z1)
	PUT(2, Z2)
	PUT(3, Z3)
	DECQ R8
	JZ done
	ADDQ $64, R11
	PUT(0, Z4)
	PUT(1, Z5)
	PUT(2, Z6)
	PUT(3, Z7)
	ADDQ $64, R11
	ADDQ $8, R14
	DECQ R8
	JNZ blocks

done:
	VZEROUPPER
	RET

// func valuesAVX512(s *span)
TEXT ·valuesAVX512(SB), NOSPLIT, $0-8
	OPEN
	MOVQ 32(DI), R9
	SHLQ $1, R9
	INPUTS
	CLEAR4

block:
	HALFBLOCK
	MOVQ $16, R10
	CMPQ R8, $1
	JNE token
	MOVQ 40(DI), R10

token:
	VCVTPH2PS (SI), Z8
	FMA4(0)
	ADDQ R9, SI
	INCQ R13
	CMPQ R13, R10
	JLT token

	NEXTINPUTS
	DECQ R8
	JNZ block

	OUTPUTS
	STORE4
	VZEROUPPER
	RET

// FMA8 multiplies what is sixteen tokens' element with that of eight queries.
#define FMA8(off, n) \
	VCVTPH2PS off(SI), Z8; \
	VFMADD231PS.BCST 4*(n)(AX)(R13*4), Z8, Z0; \
	VFMADD231PS.BCST 4*(n)(BX)(R13*4), Z8, Z1; \
	VFMADD231PS.BCST 4*(n)(CX)(R13*4), Z8, Z2; \
	VFMADD231PS.BCST 4*(n)(DX)(R13*4), Z8, Z3; \
	VFMADD231PS.BCST 4*(n)(R9)(R13*4), Z8, Z4; \
	VFMADD231PS.BCST 4*(n)(R10)(R13*4), Z8, Z5; \
	VFMADD231PS.BCST 4*(n)(R11)(R13*4), Z8, Z6; \
	VFMADD231PS.BCST 4*(n)(R12)(R13*4), Z8, Z7

// func scores8AVX512(s *span)
TEXT ·scores8AVX512(SB), NOSPLIT, $0-8
	OPEN
	INPUTS
	MOVQ 80(DI), R9
	MOVQ 88(DI), R10
	MOVQ 96(DI), R11
	MOVQ 104(DI), R12

block:
	AFTER
	HALFBLOCK
	CLEAR4
	VPXORD Z4, Z4, Z4
	VPXORD Z5, Z5, Z5
	VPXORD Z6, Z6, Z6
	VPXORD Z7, Z7, Z7

element: // four of them at a time
	PREFETCHT0 (R15)
	PREFETCHT0 64(R15)
	FMA8(0, 0)
	FMA8(32, 1)
	FMA8(64, 2)
	FMA8(96, 3)
	ADDQ $128, SI
	ADDQ $128, R15
	ADDQ $4, R13
	CMPQ R13, 32(DI)
	JLT element

	MOVQ 16(DI), R11
	SUBQ R8, R11
	SHLQ $6, R11
	PUT(0, Z0)
	PUT(1, Z1)
	PUT(2, Z2)
	PUT(3, Z3)
	PUT(4, Z4)
	PUT(5, Z5)
	PUT(6, Z6)
	PUT(7, Z7)
	MOVQ 96(DI), R11
	ADDQ $4, R14
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// WEIGH adds 64 elements of a token, times the token's weight, to a query's sums.
#define WEIGH(x, z0, z1, z2, z3) \
	VBROADCASTSS (x)(R13*4), Z20; \
	VFMADD231PS Z20, Z16, z0; \
	VFMADD231PS Z20, Z17, z1; \
	VFMADD231PS Z20, Z18, z2; \
	VFMADD231PS Z20, Z19, z3

#define ZERO64(z0, z1, z2, z3) \
	VPXORD z0, z0, z0; \
	VPXORD z1, z1, z1; \
	VPXORD z2, z2, z2; \
	VPXORD z3, z3, z3

#define STORE64(x, z0, z1, z2, z3) \
	VMOVUPS z0, (x); \
	VMOVUPS z1, 64(x); \
	VMOVUPS z2, 128(x); \
	VMOVUPS z3, 192(x)

// func values64AVX512(s *span)
TEXT ·values64AVX512(SB), NOSPLIT, $0-8
	OPEN
	MOVQ 32(DI), R9
	SHLQ $1, R9
	INPUTS
	ZERO64(Z0, Z1, Z2, Z3)
	ZERO64(Z4, Z5, Z6, Z7)
	ZERO64(Z8, Z9, Z10, Z11)
	ZERO64(Z12, Z13, Z14, Z15)

block:
	AFTER
	HALFBLOCK
	MOVQ $16, R10
	CMPQ R8, $1
	JNE token
	MOVQ 40(DI), R10

token:
	PREFETCHT0 (R15)
	PREFETCHT0 64(R15)
	VCVTPH2PS (SI), Z16
	VCVTPH2PS 32(SI), Z17
	VCVTPH2PS 64(SI), Z18
	VCVTPH2PS 96(SI), Z19
	WEIGH(AX, Z0, Z1, Z2, Z3)
	WEIGH(BX, Z4, Z5, Z6, Z7)
	WEIGH(CX, Z8, Z9, Z10, Z11)
	WEIGH(DX, Z12, Z13, Z14, Z15)
	ADDQ R9, SI
	ADDQ R9, R15
	INCQ R13
	CMPQ R13, R10
	JLT token

	NEXTINPUTS
	DECQ R8
	JNZ block

	OUTPUTS
	STORE64(R9, Z0, Z1, Z2, Z3)
	STORE64(R10, Z4, Z5, Z6, Z7)
	STORE64(R11, Z8, Z9, Z10, Z11)
	STORE64(R12, Z12, Z13, Z14, Z15)
	VZEROUPPER
	RET

// BYTES loads sixteen bytes, times the scales in Z9.
#define BYTES(off) \
	VPMOVSXBD off(SI), Z8; \
	VCVTDQ2PS Z8, Z8; \
	VMULPS Z9, Z8, Z8

// func scoresQ8AVX512(s *span)
TEXT ·scoresQ8AVX512(SB), NOSPLIT, $0-8
	OPEN
	INPUTS
	OUTPUTS

block:
	BYTEBLOCK
	CLEAR4

scales:
	VCVTPH2PS (R15), Z9
	ADDQ $32, R15

elements:
	BYTES(0)
	FMA4(0)
	BYTES(16)
	FMA4(4)
	BYTES(32)
	FMA4(8)
	BYTES(48)
	FMA4(12)
	BYTES(64)
	FMA4(16)
	BYTES(80)
	FMA4(20)
	BYTES(96)
	FMA4(24)
	BYTES(112)
	FMA4(28)
	ADDQ $128, SI
	ADDQ $8, R13
	TESTQ $31, R13
	JNZ elements
	CMPQ R13, 32(DI)
	JLT scales

	STORE4
	NEXTOUTPUTS
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func valuesQ8AVX512(s *span)
TEXT ·valuesQ8AVX512(SB), NOSPLIT, $0-8
	OPEN
	MOVQ 32(DI), R9
	INPUTS
	MOVQ 184(DI), R11
	CLEAR4

block:
	BYTEBLOCK
	MOVQ $16, R10
	CMPQ R8, $1
	JNE token
	MOVQ 40(DI), R10

token:
	VPBROADCASTW (R15), Y9
	VCVTPH2PS Y9, Z9
	BYTES(0)
	FMA4(0)
	ADDQ R9, SI
	ADDQ R11, R15
	INCQ R13
	CMPQ R13, R10
	JLT token

	NEXTINPUTS
	DECQ R8
	JNZ block

	OUTPUTS
	STORE4
	VZEROUPPER
	RET
