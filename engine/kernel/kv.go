package kernel

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// BlockTokens is how many tokens a KV block holds.
const BlockTokens = 16

// KVType is how the elements of keys and values are stored.
type KVType int

// The types.
const (
	KVF16 KVType = iota // half-precision numbers
	KVQ8                // bytes; for 32 elements of a token a half-precision scale
)

// ParseKVType returns the type of that name.
func ParseKVType(name string) (KVType, error) {
	switch name {
	case "f16":
		return KVF16, nil
	case "q8":
		return KVQ8, nil
	}
	return 0, fmt.Errorf("there is no KV type %q: f16 and q8 are possible", name)
}

func (t KVType) String() string {
	if t == KVQ8 {
		return "q8"
	}
	return "f16"
}

// HeadBytes returns the memory of a block for the keys (or the values) of one head.
func (t KVType) HeadBytes(dim int) int {
	if t == KVQ8 {
		return BlockTokens * (dim + 2*dim/BlockElems)
	}
	return BlockTokens * dim * 2
}

// CheckHead says whether heads of so many elements can be computed with.
func (t KVType) CheckHead(dim int) error {
	step := 16
	if t == KVQ8 {
		step = BlockElems
	}
	if dim <= 0 || dim%step != 0 {
		return fmt.Errorf("heads of %d elements are not supported with keys and values of %v: only multiples of %d", dim, t, step)
	}
	return nil
}

// Heads is the keys and values of one layer and one KV head, in paged memory.
type Heads struct {
	Memory       []byte // all blocks
	BlockBytes   int    // of one block, over all layers and heads
	Keys, Values int    // where this head's keys and values begin in a block
	Dim          int    // elements of a head
	Type         KVType
}

// Store writes the key and the value of a token into a slot of a block. Keys are stored element by
// element, sixteen tokens side by side; values token by token. The scales of bytes stand behind
// them, in the same order.
func (v *Variant) Store(s *Scratch, h *Heads, block int32, slot int, key, value []float32) {
	at := int(block) * h.BlockBytes
	keys, values := h.Memory[at+h.Keys:], h.Memory[at+h.Values:]
	if h.Type == KVQ8 {
		v.storeBytes(s, h.Dim, keys[slot:], keys[BlockTokens*h.Dim+2*slot:], BlockTokens, key)
		scales := values[BlockTokens*h.Dim+2*slot*(h.Dim/BlockElems):]
		v.storeBytes(s, h.Dim, values[slot*h.Dim:], scales, 1, value)
		return
	}
	v.toF16Column(halves(keys[2*slot:]), &key[0], h.Dim)
	v.toF16(halves(values[2*slot*h.Dim:]), &value[0], h.Dim)
}

// storeBytes writes a vector as bytes and scales, each stride elements from the one before.
func (v *Variant) storeBytes(s *Scratch, dim int, dst, scales []byte, stride int, x []float32) {
	size := Bytes.blockBytes()
	v.quantize(&s.token[0], &x[0], dim/BlockElems)
	for b := range dim / BlockElems {
		block := s.token[b*size : (b+1)*size]
		scale, _ := Bytes.scale(block)
		binary.LittleEndian.PutUint16(scales[2*b*stride:], ToHalf(min(scale, maxHalf)))
		to := dst[b*BlockElems*stride:]
		for e, q := range block[:BlockElems] {
			to[e*stride] = q
		}
	}
}

// maxHalf is the largest half-precision number.
const maxHalf = 65504

// halves returns where the half-precision numbers begin.
func halves(b []byte) *uint16 { return (*uint16)(unsafe.Pointer(&b[0])) }
