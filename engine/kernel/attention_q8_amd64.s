#include "textflag.h"
#include "macros_amd64.h"
#include "span_amd64.h"

// Attention about keys and values of bytes, with AVX2.

// BYTES loads sixteen bytes, times the scales in Y14 and Y15.
#define BYTES \
	VPMOVSXBD (SI), Y8; \
	VPMOVSXBD 8(SI), Y9; \
	VCVTDQ2PS Y8, Y8; \
	VCVTDQ2PS Y9, Y9; \
	VMULPS Y14, Y8, Y8; \
	VMULPS Y15, Y9, Y9

// func scoresQ8AVX2(s *span)
TEXT ·scoresQ8AVX2(SB), NOSPLIT, $0-8
	OPEN
	INPUTS
	OUTPUTS

block:
	BYTEBLOCK
	CLEARALL

scales:
	VCVTPH2PS (R15), Y14
	VCVTPH2PS 16(R15), Y15
	ADDQ $32, R15

element:
	BYTES
	FMAS
	ADDQ $16, SI
	INCQ R13
	TESTQ $31, R13
	JNZ element
	CMPQ R13, 32(DI)
	JLT scales

	STOREALL
	NEXTOUTPUTS
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func valuesQ8AVX2(s *span)
TEXT ·valuesQ8AVX2(SB), NOSPLIT, $0-8
	OPEN
	MOVQ 32(DI), R9
	INPUTS
	MOVQ 184(DI), R11
	CLEARALL

block:
	BYTEBLOCK
	MOVQ $16, R10
	CMPQ R8, $1
	JNE token
	MOVQ 40(DI), R10

token:
	VPBROADCASTW (R15), X14
	VCVTPH2PS X14, Y14
	VMOVAPS Y14, Y15
	BYTES
	FMAS
	ADDQ R9, SI
	ADDQ R11, R15
	INCQ R13
	CMPQ R13, R10
	JLT token

	NEXTINPUTS
	DECQ R8
	JNZ block

	OUTPUTS
	STOREALL
	VZEROUPPER
	RET
