#include "textflag.h"
#include "exp_amd64.h"

// Vector functions with AVX-512: like those with AVX2, sixteen numbers at a time; eight that are left
// over take the lower half of a register. Sums keep eight lanes, so that they have the same bits.

// EXP16 is EXP of sixteen numbers.
#define EXP16(x, n, t, p) \
	VMINPS.BCST high<>(SB), x, x; \
	VMAXPS.BCST low<>(SB), x, x; \
	VMULPS.BCST log2e<>(SB), x, n; \
	VRNDSCALEPS $8, n, n; \
	VFNMADD231PS.BCST ln2hi<>(SB), n, x; \
	VFNMADD231PS.BCST ln2lo<>(SB), n, x; \
	VBROADCASTSS p0<>(SB), p; \
	VFMADD213PS.BCST p1<>(SB), x, p; \
	VFMADD213PS.BCST p2<>(SB), x, p; \
	VFMADD213PS.BCST p3<>(SB), x, p; \
	VFMADD213PS.BCST p4<>(SB), x, p; \
	VFMADD213PS.BCST p5<>(SB), x, p; \
	VMULPS x, x, t; \
	VFMADD213PS x, t, p; \
	VADDPS.BCST one<>(SB), p, p; \
	VCVTPS2DQ n, n; \
	VPSLLD $23, n, n; \
	VPADDD n, p, p

// func swigluAVX512(dst, gate, up *float32, n int)
TEXT ·swigluAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), DX
	MOVQ n+24(FP), R8
	XORQ R9, R9
	VPXORD Z9, Z9, Z9
	JMP enough

next:
	VMOVUPS (SI)(R9*4), Z0
	VSUBPS Z0, Z9, Z1
	EXP16(Z1, Z2, Z3, Z4)
	VADDPS.BCST one<>(SB), Z4, Z4
	VDIVPS Z4, Z0, Z0
	VMULPS (DX)(R9*4), Z0, Z0
	VMOVUPS Z0, (DI)(R9*4)
	ADDQ $16, R9

enough:
	LEAQ 16(R9), R10
	CMPQ R10, R8
	JLE next
	CMPQ R9, R8
	JGE done
	GATE8

done:
	VZEROUPPER
	RET

// func softmaxAVX512(x *float32, n int) (maximum, sum float32)
TEXT ·softmaxAVX512(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), R8
	VBROADCASTF64X4 (SI), Z8
	XORQ R9, R9
	JMP whole

largest:
	VMAXPS (SI)(R9*4), Z8, Z8
	ADDQ $16, R9

whole:
	LEAQ 16(R9), R10
	CMPQ R10, R8
	JLE largest
	VMAXPS -32(SI)(R8*4), Y8, Y0 // eight that are left over, or again the last
	VEXTRACTF64X4 $1, Z8, Y8
	VMAXPS Y0, Y8, Y8
	MAX8(Y8, X8, X0)
	VMOVSS X8, maximum+16(FP)
	VBROADCASTSS X8, Z8
	VXORPS Y9, Y9, Y9
	XORQ R9, R9
	JMP enough

exponent:
	VMOVUPS (SI)(R9*4), Z0
	VSUBPS Z8, Z0, Z0
	VCMPPS.BCST $5, low<>(SB), Z0, K1 // not less than: below it, zero
	EXP16(Z0, Z2, Z3, Z4)
	VMOVAPS.Z Z4, K1, Z4
	VADDPS Y4, Y9, Y9
	VEXTRACTF64X4 $1, Z4, Y5
	VADDPS Y5, Y9, Y9
	VMOVUPS Z4, (SI)(R9*4)
	ADDQ $16, R9

enough:
	LEAQ 16(R9), R10
	CMPQ R10, R8
	JLE exponent
	CMPQ R9, R8
	JGE summed
	WEIGHT8

summed:
	SUM8(Y9, X9, X0)
	VMOVSS X9, sum+20(FP)
	VZEROUPPER
	RET
