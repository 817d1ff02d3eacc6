package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/model"
)

// ask is one measurement, the same for both.
type ask struct {
	What   string `json:"what"`             // "prefill" or "decode"
	Tokens int    `json:"tokens,omitempty"` // of the prompt
	Batch  int    `json:"batch,omitempty"`  // sequences
	Length int    `json:"length,omitempty"` // tokens of each before
	Steps  int    `json:"steps,omitempty"`  // whose median is told
}

// count is how many tokens an answer's seconds are for.
func (a ask) count() int {
	if a.What == "prefill" {
		return a.Tokens
	}
	return a.Batch
}

func (a ask) String() string {
	if a.What == "prefill" {
		return fmt.Sprintf("prefill %d", a.Tokens)
	}
	return fmt.Sprintf("decode %d", a.Batch)
}

// forward is our side: the model as the engine runs it.
type forward struct {
	model *model.Model
	pool  *model.Pool
}

func openForward(path string, threads int) (*forward, error) {
	file, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	m, err := model.Load(file, model.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	const blocks = 32 * 256 / model.BlockTokens
	p, err := m.NewPool(blocks)
	return &forward{m, p}, err
}

func (f *forward) close() {
	_ = f.pool.Close()
	_ = f.model.Close()
}

// seconds does what is asked.
func (f *forward) seconds(a ask) (float64, error) {
	if a.What == "prefill" {
		return f.compute(f.prompt(0, a.Tokens, a.Tokens))
	}
	size := (a.Length + a.Steps + model.BlockTokens - 1) / model.BlockTokens
	rows := make([]model.Row, a.Batch)
	for s := range rows {
		prompt := f.prompt(s*size, size*model.BlockTokens, a.Length)
		if _, err := f.compute(prompt); err != nil {
			return 0, err
		}
		rows[s] = model.Row{Token: int32(100 + s), Blocks: prompt[0].Blocks, Logits: make([]float32, f.model.Config().Vocab)}
	}
	var steps []float64
	for i := range a.Steps {
		for s := range rows {
			rows[s].Position = a.Length + i
		}
		took, err := f.compute(rows)
		if err != nil {
			return 0, err
		}
		steps = append(steps, took)
	}
	slices.Sort(steps)
	return steps[len(steps)/2], nil
}

// prompt makes rows of made-up tokens, whose blocks begin with the one given.
func (f *forward) prompt(block, room, tokens int) []model.Row {
	table := make([]int32, room/model.BlockTokens)
	for i := range table {
		table[i] = int32(block + i)
	}
	rows := make([]model.Row, tokens)
	for i := range rows {
		rows[i] = model.Row{Token: int32(1000 + i*37%40000), Position: i, Blocks: table}
	}
	rows[tokens-1].Logits = make([]float32, f.model.Config().Vocab)
	return rows
}

func (f *forward) compute(rows []model.Row) (float64, error) {
	began := time.Now()
	err := f.model.Forward(f.pool, rows)
	return time.Since(began).Seconds(), err
}
