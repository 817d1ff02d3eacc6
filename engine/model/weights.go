package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// linear is a weight matrix and how its panels are cut into pieces of work.
type linear struct {
	*kernel.Matrix
	step   int // panels of a piece
	pieces int
}

// layer holds the weights of one transformer layer.
type layer struct {
	attentionNorm, feedForwardNorm []float32
	query, key, value, output      linear
	queryBias, keyBias, valueBias  []float32 // nil for none
	queryNorm, keyNorm             []float32 // nil for none
	gate, up, down                 linear
}

// A piece of work is some panels of a matrix: a multiple of the 32 rows that share a scale when
// results are quantized in turn. Larger pieces keep a kernel longer at what it has in the CPU's
// caches; more of them than threads let the faster one do what a slower one leaves.
const (
	pieceRows       = 32
	largestPiece    = 4 * pieceRows
	piecesOfAThread = 4
)

// pieces cuts the panels of a matrix.
func pieces(m *kernel.Matrix, threads int) (step, count int) {
	share := m.Rows / (piecesOfAThread * threads)
	rows := min(max((share+pieceRows-1)/pieceRows*pieceRows, pieceRows), largestPiece)
	step = rows / m.PanelRows()
	return step, (m.Panels() + step - 1) / step
}

// loader takes tensors from a file, remembers which were taken and the first error.
type loader struct {
	file    *gguf.File
	taken   map[string]bool
	err     error
	threads int
	bytes   int // of packed matrices
	loaded  []loading
}

// loading is a matrix that still waits for its memory and its weights.
type loading struct {
	matrix *kernel.Matrix
	src    []byte
}

func (l *loader) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

// tensor takes a tensor of that shape.
func (l *loader) tensor(name string, shape ...int) *gguf.Tensor {
	t, ok := l.file.Tensor(name)
	if !ok {
		l.fail("tensor %s is missing", name)
		return nil
	}
	l.taken[name] = true
	got := t.Shape
	for len(got) > len(shape) && got[len(got)-1] == 1 {
		got = got[:len(got)-1]
	}
	same := len(got) == len(shape)
	for i := 0; same && i < len(shape); i++ {
		same = got[i] == shape[i]
	}
	if !same {
		l.fail("tensor %s has the shape %v: %v is needed", name, t.Shape, shape)
		return nil
	}
	return t
}

// vector takes a tensor of n floats.
func (l *loader) vector(name string, n int) []float32 {
	t := l.tensor(name, n)
	if t == nil {
		return make([]float32, n)
	}
	if t.Type != gguf.F32 {
		l.fail("tensor %s has type %v: F32 is needed", name, t.Type)
		return make([]float32, n)
	}
	return floats(t.Data)
}

// maybe takes a vector that some models lack.
func (l *loader) maybe(name string, n int) []float32 {
	if _, ok := l.file.Tensor(name); !ok {
		return nil
	}
	return l.vector(name, n)
}

// linear takes a matrix that makes rows results of cols activations.
func (l *loader) linear(name string, rows, cols int) linear {
	t := l.tensor(name, cols, rows)
	if t == nil {
		return linear{}
	}
	m, err := kernel.NewMatrix(t.Type, rows, cols)
	if err != nil {
		l.fail("tensor %s: %w", name, err)
		return linear{}
	}
	l.bytes += (m.Bytes() + 63) &^ 63
	l.loaded = append(l.loaded, loading{m, t.Data})
	step, count := pieces(m, l.threads)
	return linear{m, step, count}
}

// setFine spends twice the work on a matrix for results that are nearer to those of floats. Keys
// and values deserve it: they are a few percent of the work, but half of what quantized
// activations cost in accuracy comes from them.
func (l *linear) setFine() {
	if l.Matrix != nil {
		l.Fine = true
	}
}

// floats copies a tensor's floats.
func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func (l *loader) layer(i int, c Config, fam family) layer {
	name := func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	queries, keys := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	y := layer{
		attentionNorm:   l.vector(name("attn_norm.weight"), c.Embedding),
		query:           l.linear(name("attn_q.weight"), queries, c.Embedding),
		key:             l.linear(name("attn_k.weight"), keys, c.Embedding),
		value:           l.linear(name("attn_v.weight"), keys, c.Embedding),
		output:          l.linear(name("attn_output.weight"), c.Embedding, queries),
		feedForwardNorm: l.vector(name("ffn_norm.weight"), c.Embedding),
		gate:            l.linear(name("ffn_gate.weight"), c.FeedForward, c.Embedding),
		up:              l.linear(name("ffn_up.weight"), c.FeedForward, c.Embedding),
		down:            l.linear(name("ffn_down.weight"), c.Embedding, c.FeedForward),
		queryBias:       l.maybe(name("attn_q.bias"), queries),
		keyBias:         l.maybe(name("attn_k.bias"), keys),
		valueBias:       l.maybe(name("attn_v.bias"), keys),
	}
	if fam.biases && (y.queryBias == nil || y.keyBias == nil || y.valueBias == nil) {
		l.fail("layer %d lacks the biases of its queries, keys and values", i)
	}
	y.key.setFine()
	y.value.setFine()
	if fam.headNorms {
		y.queryNorm = l.vector(name("attn_q_norm.weight"), c.HeadDim)
		y.keyNorm = l.vector(name("attn_k_norm.weight"), c.HeadDim)
	}
	return y
}

// checkAllTaken refuses a file with tensors that the forward pass would leave out: its results
// would be wrong without a word.
func (l *loader) checkAllTaken() {
	l.taken["rope_freqs.weight"] = true
	for _, t := range l.file.Tensors() {
		if !l.taken[t.Name] {
			l.fail("tensor %s is not one that the architecture is known to have", t.Name)
		}
	}
}

// pack gives every matrix its memory and fills it, all workers together.
func (m *Model) pack(l *loader) error {
	memory, err := newRegion(l.bytes)
	if err != nil {
		return fmt.Errorf("cannot hold the weights: %w", err)
	}
	m.memory = memory
	type piece struct {
		loading
		from, to int
	}
	const pieceBytes = 512 << 10
	var pieces []piece
	at := 0
	for _, x := range l.loaded {
		x.matrix.SetMemory(memory.bytes[at:])
		at += (x.matrix.Bytes() + 63) &^ 63
		step := max(1, pieceBytes/x.matrix.PanelBytes())
		for from := 0; from < x.matrix.Panels(); from += step {
			pieces = append(pieces, piece{x, from, min(from+step, x.matrix.Panels())})
		}
	}
	var fault atomic.Pointer[error]
	m.team.Run(func(worker int) {
		m.team.Each(worker, len(pieces), func(i int) {
			p := pieces[i]
			if err := survive(func() { p.matrix.Pack(p.src, p.from, p.to) }); err != nil {
				fault.Store(&err)
			}
		})
	})
	if err := fault.Load(); err != nil {
		return errors.Join(*err, m.memory.free())
	}
	return nil
}

// matrices returns those that have been packed.
func (l *loader) matrices() []*kernel.Matrix {
	var all []*kernel.Matrix
	for _, x := range l.loaded {
		all = append(all, x.matrix)
	}
	return all
}

// survive turns a fault of the memory map into an error: when the file was cut short after it was
// opened, or its disk fails, there is nothing to read behind an address.
func survive(read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot read the weights, the file has changed or its disk fails: %v", r)
		}
	}()
	read()
	return nil
}
