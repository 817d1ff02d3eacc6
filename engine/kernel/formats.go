package kernel

import (
	"fmt"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// format is how a matrix is laid out for the kernels.
type format int

const (
	formatU4   format = iota // nibbles; for 32 elements a half-precision scale and minimum
	formatU4K                // nibbles; the same, each times a byte
	formatS8                 // signed bytes; for 32 elements a half-precision scale
	formatS8K                // signed bytes; a half-precision scale and minimum, each times a byte
	formatS8H                // signed bytes; for 16 elements a half-precision scale times a byte
	formatF32                // floats
	formatF16                // half-precision floats
	formatBF16               // brain floats
	formats    = iota
)

// geometry of a format: a panel is sixteen rows that are computed together, one in each lane; a
// block of it is the same few elements of all those rows.
type geometry struct {
	elems      int   // of a block, in each row
	blockBytes int   // of all the panel's rows together
	input      Forms // of the activations; 0 for floats
}

// panelRows is how many rows a panel has in every format: one for each lane of the widest kernels.
const panelRows = 16

var geometries = [formats]geometry{
	formatU4:   {32, u4Block, Bytes},
	formatU4K:  {32, k4Block, Bytes},
	formatS8:   {32, s8Block, Bytes},
	formatS8K:  {32, k5Block, Words},
	formatS8H:  {32, k6Block, Words},
	formatF32:  {1, 64, 0},
	formatF16:  {1, 32, 0},
	formatBF16: {1, 32, 0},
}

// formatOf returns the format into which tensors of a type are packed.
func formatOf(t gguf.Type) (format, error) {
	switch t {
	case gguf.Q4_0, gguf.Q4_1:
		return formatU4, nil
	case gguf.Q4_K:
		return formatU4K, nil
	case gguf.Q5_0, gguf.Q8_0:
		return formatS8, nil
	case gguf.Q5_K:
		return formatS8K, nil
	case gguf.Q6_K:
		return formatS8H, nil
	case gguf.F32:
		return formatF32, nil
	case gguf.F16:
		return formatF16, nil
	case gguf.BF16:
		return formatBF16, nil
	}
	return 0, fmt.Errorf("tensor type %v is not supported: F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q5_0, Q4_K, Q4_1 and Q4_0 are", t)
}
