// Words of the vector functions: constants of eight equal floats, e to the x, folds of a register.

#define EIGHT(name, pair) \
	DATA name<>+0(SB)/8, $pair; \
	DATA name<>+8(SB)/8, $pair; \
	DATA name<>+16(SB)/8, $pair; \
	DATA name<>+24(SB)/8, $pair; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

EIGHT(high, 0x42b0000042b00000) // 88
EIGHT(low, 0xc2ae0000c2ae0000) // -87
EIGHT(log2e, 0x3fb8aa3b3fb8aa3b) // 1.442695041
EIGHT(ln2hi, 0x3f3180003f318000) // 0.693359375
EIGHT(ln2lo, 0xb95e8083b95e8083) // -0.00021219444
EIGHT(p0, 0x3950696739506967) // 0.000198756915
EIGHT(p1, 0x3ab743ce3ab743ce) // 0.001398199951
EIGHT(p2, 0x3c0889083c088908) // 0.008333451907
EIGHT(p3, 0x3d2aa9c13d2aa9c1) // 0.04166579589
EIGHT(p4, 0x3e2aaaaa3e2aaaaa) // 0.1666666546
EIGHT(p5, 0x3f0000003f000000) // 0.500000012
EIGHT(one, 0x3f8000003f800000) // 1
EIGHT(maxf16, 0x477fe000477fe000) // 65504
EIGHT(minf16, 0xc77fe000c77fe000) // -65504
EIGHT(absolute, 0x7fffffff7fffffff)

// EXP sets p to e to the x, for x between low and high; x, n and t are lost.
// 2^n times a polynomial of the rest (Cephes's expf); 2^n by adding to the exponent's bits.
#define EXP(x, n, t, p) \
	VMINPS high<>(SB), x, x; \
	VMAXPS low<>(SB), x, x; \
	VMULPS log2e<>(SB), x, n; \
	VROUNDPS $8, n, n; \
	VFNMADD231PS ln2hi<>(SB), n, x; \
	VFNMADD231PS ln2lo<>(SB), n, x; \
	VMOVUPS p0<>(SB), p; \
	VFMADD213PS p1<>(SB), x, p; \
	VFMADD213PS p2<>(SB), x, p; \
	VFMADD213PS p3<>(SB), x, p; \
	VFMADD213PS p4<>(SB), x, p; \
	VFMADD213PS p5<>(SB), x, p; \
	VMULPS x, x, t; \
	VFMADD213PS x, t, p; \
	VADDPS one<>(SB), p, p; \
	VCVTPS2DQ n, n; \
	VPSLLD $23, n, n; \
	VPADDD n, p, p

// GATE8 computes eight numbers of a gate: those at R9 of SI and DX, to DI; Y9 is zero.
#define GATE8 \
	VMOVUPS (SI)(R9*4), Y0; \
	VSUBPS Y0, Y9, Y1; \
	EXP(Y1, Y2, Y3, Y4); \
	VADDPS one<>(SB), Y4, Y4; \
	VDIVPS Y4, Y0, Y0; \
	VMULPS (DX)(R9*4), Y0, Y0; \
	VMOVUPS Y0, (DI)(R9*4)

// WEIGHT8 makes weights of a softmax of eight numbers, those at R9 of SI, and adds them to Y9; Y8 is the
// largest number of all. What is not "not less than" low becomes zero.
#define WEIGHT8 \
	VMOVUPS (SI)(R9*4), Y0; \
	VSUBPS Y8, Y0, Y0; \
	VCMPPS $5, low<>(SB), Y0, Y5; \
	EXP(Y0, Y2, Y3, Y4); \
	VANDPS Y5, Y4, Y4; \
	VADDPS Y4, Y9, Y9; \
	VMOVUPS Y4, (SI)(R9*4)

// SUM8 adds the lanes of a register into its lowest, halves first.
#define SUM8(y, x, tx) \
	VEXTRACTF128 $1, y, tx; \
	VADDPS tx, x, x; \
	VMOVHLPS x, x, tx; \
	VADDPS tx, x, x; \
	VMOVSHDUP x, tx; \
	VADDSS tx, x, x

#define MAX8(y, x, tx) \
	VEXTRACTF128 $1, y, tx; \
	VMAXPS tx, x, x; \
	VMOVHLPS x, x, tx; \
	VMAXPS tx, x, x; \
	VMOVSHDUP x, tx; \
	VMAXSS tx, x, x
