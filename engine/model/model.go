// Package model runs a language model of the Llama and Qwen families on the CPU: it reads the
// weights of a GGUF file and computes, for a batch of tokens at their positions, the logits of
// the tokens that follow. Keys and values live in a pool of paged blocks that the caller hands
// out.
//
// Read: model.go (load), config.go and rope.go (what the metadata says), weights.go (tensors),
// pool.go (KV memory), batch.go (what is asked for), forward.go (the pass itself), memory.go.
package model

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// Options are the choices that the file does not make.
type Options struct {
	Threads int             // worker threads; 0 means one for each CPU that Go may use
	Variant *kernel.Variant // implementation of the kernels; nil means the best
	KV      kernel.KVType   // how keys and values are stored
}

// Model is a loaded model. Forward must not be called by two goroutines at once.
type Model struct {
	config Config
	kernel *kernel.Variant
	kv     kernel.KVType
	team   *kernel.Team
	memory *region

	layers     []layer
	embedding  linear
	outputNorm []float32
	output     linear // the embedding again if the file has no other

	batch   batch
	workers []worker
	pass    func(worker int) // forward, as a value that is made once

	headJobs int // pieces of work that the attention of a span of rows makes
}

// Load copies the weights of an open file into the layout of the kernels. The file can be closed
// afterwards.
func Load(f *gguf.File, o Options) (*Model, error) {
	m, err := load(f, o)
	if err != nil {
		return nil, fmt.Errorf("cannot load model %s: %w", f.Path(), err)
	}
	return m, nil
}

func load(f *gguf.File, o Options) (*Model, error) {
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, fmt.Errorf("%d threads cannot be started", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Variant == nil {
		o.Variant = kernel.Best()
	}
	m := &Model{kernel: o.Variant, kv: o.KV}
	l := &loader{file: f, threads: o.Threads, taken: map[string]bool{}}
	var err error
	if fault := survive(func() { err = m.describe(l) }); fault != nil || err != nil {
		return nil, errors.Join(fault, err)
	}
	m.team = kernel.NewTeam(o.Threads, o.Variant)
	if err := m.pack(l); err != nil {
		m.team.Close()
		return nil, err
	}
	_ = f.Release() // the copy is what is used from now on
	m.kernel = m.kernel.Choose(m.team, l.matrices())
	m.newWorkers(o.Threads)
	return m, nil
}

// describe reads the model's shape and finds its tensors.
func (m *Model) describe(l *loader) error {
	config, fam, err := readConfig(l.file)
	if err != nil {
		return err
	}
	m.config = config
	c := &m.config
	if err := m.kv.CheckHead(c.HeadDim); err != nil {
		return err
	}
	embedding, ok := l.file.Tensor("token_embd.weight")
	if !ok || len(embedding.Shape) != 2 {
		return fmt.Errorf("tensor token_embd.weight is missing or no matrix")
	}
	c.Vocab = embedding.Shape[1]
	m.embedding = l.linear("token_embd.weight", c.Vocab, c.Embedding)
	m.outputNorm = l.vector("output_norm.weight", c.Embedding)
	m.output = m.embedding
	if _, ok := l.file.Tensor("output.weight"); ok {
		m.output = l.linear("output.weight", c.Vocab, c.Embedding)
	}
	for i := 0; i < c.Layers && l.err == nil; i++ {
		m.layers = append(m.layers, l.layer(i, config, fam))
	}
	if l.err == nil {
		l.checkAllTaken()
	}
	return l.err
}

// Config returns the model's shape.
func (m *Model) Config() Config { return m.config }

// WeightBytes returns the memory that the packed weights take.
func (m *Model) WeightBytes() int { return len(m.memory.bytes) }

// Kernels names the kernels that it computes with.
func (m *Model) Kernels() string { return m.kernel.Name }

// Threads returns the number of workers.
func (m *Model) Threads() int { return m.team.Size() }

// Close ends the workers and gives the memory of the weights back.
func (m *Model) Close() error {
	if m.memory.bytes == nil {
		return errClosed
	}
	m.team.Close()
	return m.memory.free()
}

var errClosed = errors.New("the model is closed")
