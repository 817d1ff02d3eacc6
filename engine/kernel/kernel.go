// Package kernel is the arithmetic of the forward pass: quantized matrices times a batch of
// activations, norms, rotary positions, attention over paged half-precision keys and values.
//
// Every kernel exists in plain Go and in assembly for the CPUs that have AVX2, FMA and F16C;
// the choice is made once, when the program starts. The assembly gives the same bits as the
// Go, and a row of a batch the same bits whatever the batch, since each result is computed by
// the same operations in the same order wherever it stands.
//
// Read: kernel.go (variants), columns.go (activations), matrix.go (weights and their product),
// choice.go (which of two kernels multiplies), formats.go, pack.go
// and unpack.go (how weights are laid out for the kernels), kv.go (how keys and values are),
// attention.go, team.go (worker threads), then the plain
// Go (generic_*.go) and the assembly of the same names.
package kernel

// Variant is one implementation of all kernels.
type Variant struct {
	Name string

	muls  [formats][]mul // those of a format, by rising number of columns
	words Forms          // in which of its forms the kernels take 16-bit activations: Words or Halves

	quantize           func(dst *byte, src *float32, blocks int)
	quantizeWords      func(dst *byte, src *float32, blocks int)
	quantizeHalves     func(dst *byte, src *float32, blocks int)
	residue            func(dst, src *float32, quants *byte, blocks int)
	rmsNorm            func(dst, x, weight *float32, n int, epsilon float32)
	swiglu             func(dst, gate, up *float32, n int)
	softmax            func(x *float32, n int) (maximum, sum float32)
	ropePairs          func(x, cos, sin *float32, heads, stride, n int)
	ropeHalves         func(x, cos, sin *float32, heads, stride, n int)
	toF16              func(dst *uint16, src *float32, n int)
	toF16Column        func(dst *uint16, src *float32, n int)
	scoresQ8, valuesQ8 func(*span)
	scores             func(*span)
	values             func(*span)
	scores8            func(*span) // the same for eight queries, or nil
	values64           func(*span) // the same for 64 elements, or nil
	pause              func(n int)
	prefetch           func(p *byte, lines int) // into the core's second-level cache
}

// Variants returns the implementations that this CPU can run, the best first.
func Variants() []*Variant {
	return append(native(), plain())
}

// Best returns the fastest implementation that this CPU can run.
func Best() *Variant { return Variants()[0] }

// maxColumns is how many columns of activations a matrix kernel takes at a time at most.
const maxColumns = 16

// tile is one call of a matrix kernel: consecutive panels of rows times some columns of
// activations. Its layout is known to the assembly.
type tile struct {
	w      *byte                // the first panel
	panels int                  // panels to compute
	blocks int                  // blocks of a row; elements of a row if the format is a float's
	add    int                  // 1 adds to what out holds, 0 replaces it
	out    [maxColumns]*float32 // of each column, the result of the first panel's first row
	x      [maxColumns]*byte    // each column's activations

	// Only for kernels that take many columns, which lie one after the other.
	columns int        // a multiple of their number
	stride  int        // bytes from one column's activations to the next
	scratch *byte      // memory of the worker's own
	vectors *[]float32 // of each column, its results
	offset  int        // bytes into them at which the first panel's are
	_       [3]uintptr // what the assembly keeps for itself; all else it leaves as it is
}

// mul is a matrix kernel and how many columns it takes, or with many, any multiple of that.
type mul struct {
	columns int
	run     func(*tile)
	many    bool
	least   int // with many, how many columns must be there for it to be taken, if more than columns
}

// span is one call of an attention kernel: consecutive blocks of one sequence, one layer and one
// KV head, for four queries or eight. Its layout is known to the assembly.
type span struct {
	base       *byte       // this layer's and head's keys (or values) in block 0 of the pool
	table      *int32      // the numbers of the blocks
	blocks     int         // how many
	blockBytes int         // from one block of the pool to the next
	dim        int         // elements of a head
	last       int         // tokens of the last block that count
	in         [8]*float32 // scores: the queries; values: each query's weight of every token
	out        [8]*float32 // scores: one for every token; values: sixteen sums
	scales     *byte       // of bytes: in block 0, those of the keys, or of the first value
	scaleStep  int         // of bytes: from one value's scale to the next
	after      [2]*byte    // scores: two blocks' worth of what will be read next
}
