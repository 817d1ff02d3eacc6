#include "textflag.h"
#include "macros_amd64.h"
#include "span_amd64.h"

// func scoresAVX2(s *span)
// For each block: sixteen tokens' keys (stored element by element) against four queries.
TEXT ·scoresAVX2(SB), NOSPLIT, $0-8
	OPEN
	INPUTS
	OUTPUTS

block:
	HALFBLOCK
	CLEARALL

element:
	VCVTPH2PS (SI), Y8
	VCVTPH2PS 16(SI), Y9
	FMAS
	ADDQ $32, SI
	INCQ R13
	CMPQ R13, 32(DI)
	JLT element

	STOREALL
	NEXTOUTPUTS
	DECQ R8
	JNZ block
	VZEROUPPER
	RET

// func valuesAVX2(s *span)
// Sixteen elements of the weighted sum of all tokens' values, for four queries.
TEXT ·valuesAVX2(SB), NOSPLIT, $0-8
	OPEN
	MOVQ 32(DI), R9
	SHLQ $1, R9
	INPUTS
	CLEARALL

block:
	HALFBLOCK
	MOVQ $16, R10
	CMPQ R8, $1
	JNE token
	MOVQ 40(DI), R10

token:
	VCVTPH2PS (SI), Y8
	VCVTPH2PS 16(SI), Y9
	FMAS
	ADDQ R9, SI
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
