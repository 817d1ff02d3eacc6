package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// BlockElems is how many activations share a scale.
const BlockElems = 32

// Forms is a set of the quantized forms of activations. Most weights are multiplied with bytes, as
// many products an instruction as there can be; those of the K formats of more than four bits get
// words, whose rounding costs nothing that could be measured.
type Forms uint8

// The forms.
const (
	Bytes  Forms = 1 << iota // signed bytes
	Rest                     // what the bytes leave, as bytes again
	Words                    // signed 16-bit words
	Halves                   // the same words, as the bytes that count 256 and the bytes that count 1
)

// mostWords is what the largest word of a block becomes. Its bytes are both at most 127, and so are
// those of all smaller ones.
const mostWords = 127*256 + 127

// blockBytes returns the size of a block: its numbers, the scale, and the scale times their sum. A
// block of bytes has one integer more, -128 times their sum, and room up to a round size; one of
// halves has two: 128 times the sum of all its words, and of the second sixteen.
func (f Forms) blockBytes() int {
	switch f {
	case Words:
		return 2*BlockElems + 8
	case Halves:
		return 2*BlockElems + 16
	}
	return BlockElems + 16
}

// scaleAt returns where the scale of a block is.
func (f Forms) scaleAt() int {
	if f&(Words|Halves) != 0 {
		return 2 * BlockElems
	}
	return BlockElems
}

// integer returns element e of a block.
func (f Forms) integer(block []byte, e int) int32 {
	switch f {
	case Words:
		return int32(int16(binary.LittleEndian.Uint16(block[2*e:])))
	case Halves:
		return 256*int32(int8(block[e])) + int32(int8(block[BlockElems+e]))
	}
	return int32(int8(block[e]))
}

// scale returns what the integers of a block are times, and that times their sum.
func (f Forms) scale(block []byte) (scale, total float32) {
	at := f.scaleAt()
	return math.Float32frombits(binary.LittleEndian.Uint32(block[at:])),
		math.Float32frombits(binary.LittleEndian.Uint32(block[at+4:]))
}

// Columns is a batch of vectors: as floats, and in the quantized forms that matrices ask for.
type Columns struct {
	n       int // elements of a vector
	forms   Forms
	floats  []float32
	vectors [][]float32 // the same, one by one
	bytes   []byte
	words   []byte
	halves  []byte
	rest    *Columns
}

// NewColumns returns room for count vectors of n elements, in all of these forms.
func NewColumns(n, count int, forms Forms) *Columns {
	n = (n + BlockElems - 1) / BlockElems * BlockElems
	c := &Columns{n: n, forms: forms, floats: make([]float32, n*count)}
	for i := range count {
		c.vectors = append(c.vectors, c.floats[i*n:(i+1)*n:(i+1)*n])
	}
	if forms&(Bytes|Rest) != 0 {
		c.bytes = make([]byte, n/BlockElems*Bytes.blockBytes()*count)
	}
	if forms&Words != 0 {
		c.words = make([]byte, n/BlockElems*Words.blockBytes()*count)
	}
	if forms&Halves != 0 {
		c.halves = make([]byte, n/BlockElems*Halves.blockBytes()*count)
	}
	if forms&Rest != 0 {
		c.rest = NewColumns(n, count, Bytes)
	}
	return c
}

// Vector returns vector i as floats.
func (c *Columns) Vector(i int) []float32 { return c.vectors[i] }

// Vectors returns vectors from up to to as floats.
func (c *Columns) Vectors(from, to int) [][]float32 { return c.vectors[from:to] }

// Quantize writes the quantized forms of elements from up to to of vector i. Both must be
// multiples of BlockElems if there are any.
func (v *Variant) Quantize(c *Columns, i, from, to int) {
	if from >= to || c.forms == 0 {
		return
	}
	at, blocks := i*c.n+from, (to-from)/BlockElems
	if c.words != nil {
		v.quantizeWords(c.block(Words, at), &c.floats[at], blocks)
	}
	if c.halves != nil {
		v.quantizeHalves(c.block(Halves, at), &c.floats[at], blocks)
	}
	if c.bytes == nil {
		return
	}
	v.quantize(c.block(Bytes, at), &c.floats[at], blocks)
	if c.rest != nil {
		v.residue(&c.rest.floats[at], &c.floats[at], c.block(Bytes, at), blocks)
		v.Quantize(c.rest, i, from, to)
	}
}

// block returns where the block of element at begins.
func (c *Columns) block(form Forms, at int) *byte {
	at = at / BlockElems * form.blockBytes()
	switch form {
	case Words:
		return &c.words[at]
	case Halves:
		return &c.halves[at]
	}
	return &c.bytes[at]
}

// column returns where vector i begins, in the form that a matrix takes.
func (c *Columns) column(i int, input Forms) *byte {
	if input == 0 {
		return (*byte)(unsafe.Pointer(&c.floats[i*c.n]))
	}
	return c.block(input, i*c.n)
}
