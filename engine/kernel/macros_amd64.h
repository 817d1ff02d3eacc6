// Words of the quantized kernels. By convention: DI the tile, SI the weights, AX BX CX DX the
// activations of four columns, Y14 the nibble mask or scratch, Y15 sixteen-bit ones.

// ONES sets every 16-bit lane of a register to 1.
#define ONES(r) \
	VPCMPEQW r, r, r; \
	VPSRLW $15, r, r

// NIBBLES sets every byte of a register to 0x0f.
#define NIBBLES(r) \
	VPCMPEQW r, r, r; \
	VPSRLW $12, r, r; \
	VPACKUSWB r, r, r

// AHEAD4 and AHEAD8 ask for the weights that come some blocks later: the CPU alone begins too late
// when they come from memory, and costs a tenth of the speed of a small batch.
#define DISTANCE 2048
#define AHEAD4 \
	PREFETCHT0 DISTANCE(SI); \
	PREFETCHT0 DISTANCE+64(SI); \
	PREFETCHT0 DISTANCE+128(SI); \
	PREFETCHT0 DISTANCE+192(SI); \
	PREFETCHT0 DISTANCE+256(SI)

#define AHEAD8 \
	AHEAD4; \
	PREFETCHT0 DISTANCE+320(SI); \
	PREFETCHT0 DISTANCE+384(SI); \
	PREFETCHT0 DISTANCE+448(SI); \
	PREFETCHT0 DISTANCE+512(SI)

// UNPACK splits 32 bytes of nibbles: the low ones to Y9, the high ones to Y8.
#define UNPACK(off) \
	VMOVDQU off(SI), Y8; \
	VPAND Y14, Y8, Y9; \
	VPSRLW $4, Y8, Y8; \
	VPAND Y14, Y8, Y8

// FIRST4 begins a column's 16-bit sums with four elements of every row.
#define FIRST4(off, x, w, acc) \
	VPBROADCASTD off(x), Y10; \
	VPMADDUBSW Y10, w, acc

// NEXT4 adds four more elements of every row.
#define NEXT4(off, x, w, acc, tmp) \
	VPBROADCASTD off(x), tmp; \
	VPMADDUBSW tmp, w, tmp; \
	VPADDW tmp, acc, acc

// HALFSCALES loads eight rows' scales and minima, half-precision numbers.
#define HALFSCALES(off) \
	VCVTPH2PS off(SI), Y8; \
	VCVTPH2PS off+16(SI), Y9

// KSCALES loads eight rows' scales and minima, half-precision numbers times unsigned bytes. The
// bytes of the upper half of the rows are 16 bytes nearer to the halves, which R15 says.
#define KSCALES(off) \
	HALFSCALES(off); \
	VPMOVZXBD off+64(SI)(R15*1), Y10; \
	VPMOVZXBD off+72(SI)(R15*1), Y11; \
	VCVTDQ2PS Y10, Y10; \
	VCVTDQ2PS Y11, Y11; \
	VMULPS Y10, Y8, Y8; \
	VMULPS Y11, Y9, Y9

// HALFPANEL goes to where SI was and 32 bytes on for the upper half of a panel's rows, and after that
// to the next panel; STEP is the size of a block.
#define HALFPANEL(STEP, next) \
	NOTQ R15; \
	ANDQ $-16, R15; \
	JZ done; \
	MOVQ 16(DI), R13; \
	IMULQ $STEP, R13; \
	SUBQ R13, SI; \
	ADDQ $32, SI; \
	JMP next; \
done: \
	SUBQ $32, SI

// SCALE4 turns a block's 16-bit sums to floats and adds them, times both scales, to the
// column's result; then the rows' minimum (Y9) times the sum of the block's activations.
#define SCALE4(x, acc, result) \
	VPMADDWD Y15, acc, acc; \
	VBROADCASTSS 32(x), Y10; \
	VCVTDQ2PS acc, acc; \
	VMULPS Y8, Y10, Y10; \
	VBROADCASTSS 36(x), Y11; \
	VFMADD231PS Y10, acc, result; \
	VFMADD231PS Y9, Y11, result

// FMA2 adds one element's product for sixteen rows (Y8 and Y9) of one column.
#define FMA2(x, tmp, lo, hi) \
	VBROADCASTSS (x)(R13*4), tmp; \
	VFMADD231PS tmp, Y8, lo; \
	VFMADD231PS tmp, Y9, hi
