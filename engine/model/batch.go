package model

import (
	"fmt"

	"github.com/semantic-pod/semantic/engine/kernel"
)

// Row is one token of a batch.
type Row struct {
	Token    int32
	Position int       // of the token in its sequence, from 0
	Blocks   []int32   // the sequence's blocks: block i holds positions 16i to 16i+15
	Logits   []float32 // Vocab numbers to fill with what follows the token, or nil
}

// maxBatch is how many rows are computed together: enough that reading the weights costs little,
// few enough that the activations stay near the CPU.
const maxBatch = 256

// batch is what the workers share while they compute some rows.
type batch struct {
	pool   *Pool
	rows   []Row
	spans  []rowSpan
	wanted []int       // rows whose logits are asked for
	logits [][]float32 // theirs
	last   []rowSpan   // spans of the wanted rows alone, for the last layer
	seat   []int       // of each wanted row, its place among them

	size                   int             // rows that there is room for
	x                      *kernel.Columns // the residual stream
	attentionIn            *kernel.Columns // normed for each of the next matrices
	feedForwardIn          *kernel.Columns
	outputIn               *kernel.Columns
	query, key, value, sum *kernel.Columns
	gate, up               *kernel.Columns
	rope                   [][4][]float32 // of each row: cosines and sines, of keys and of queries
}

// rowSpan is consecutive rows of one sequence, which attend together.
type rowSpan struct{ from, to int }

// check refuses rows that point outside the vocabulary, the pool or the context.
func (m *Model) check(p *Pool, rows []Row) error {
	switch {
	case m.memory.bytes == nil:
		return errClosed
	case p.memory.bytes == nil:
		return errPoolClosed
	case p.blockBytes != m.blockBytes():
		return fmt.Errorf("the KV pool has blocks of %d bytes, those of this model have %d", p.blockBytes, m.blockBytes())
	}
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Token < 0 || int(r.Token) >= m.config.Vocab:
			return fmt.Errorf("row %d: token %d is not in the vocabulary of %d", i, r.Token, m.config.Vocab)
		case r.Position < 0 || r.Position >= m.config.Context:
			return fmt.Errorf("row %d: position %d is beyond the context of %d tokens", i, r.Position, m.config.Context)
		case r.Position/BlockTokens >= len(r.Blocks):
			return fmt.Errorf("row %d: position %d needs %d blocks, the sequence has %d", i, r.Position, r.Position/BlockTokens+1, len(r.Blocks))
		case r.Logits != nil && len(r.Logits) != m.config.Vocab:
			return fmt.Errorf("row %d: room for %d logits, the vocabulary has %d", i, len(r.Logits), m.config.Vocab)
		}
		if i > 0 && sameSequence(&rows[i-1], r) && i+1 < len(rows) && sameSequence(r, &rows[i+1]) {
			continue // the last row of the sequence checks the blocks of all
		}
		for _, b := range r.Blocks[:r.Position/BlockTokens+1] {
			if b < 0 || int(b) >= p.blocks {
				return fmt.Errorf("row %d: block %d is not in the pool of %d", i, b, p.blocks)
			}
		}
	}
	return nil
}

// sameSequence says whether b is the token after a.
func sameSequence(a, b *Row) bool {
	return b.Position == a.Position+1 && len(a.Blocks) == len(b.Blocks) && &a.Blocks[0] == &b.Blocks[0]
}

// begin prepares the workers' shared memory for some rows.
func (m *Model) begin(p *Pool, rows []Row) {
	b := &m.batch
	b.pool, b.rows = p, rows
	m.grow(len(rows))
	b.spans, b.wanted, b.logits, b.last = b.spans[:0], b.wanted[:0], b.logits[:0], b.last[:0]
	limit := max(1, kernel.MaxQueries/(m.config.Heads/m.config.KVHeads))
	for i := range rows {
		b.spans = appendRow(b.spans, rows, i, limit)
		if rows[i].Logits != nil {
			b.seat[i] = len(b.wanted)
			b.wanted = append(b.wanted, i)
			b.logits = append(b.logits, rows[i].Logits)
			b.last = appendRow(b.last, rows, i, limit)
		}
	}
}

// appendRow adds row i to the last span if it goes on there, and else begins another.
func appendRow(spans []rowSpan, rows []Row, i, limit int) []rowSpan {
	if last := len(spans) - 1; last >= 0 && spans[last].to == i && i-spans[last].from < limit && sameSequence(&rows[i-1], &rows[i]) {
		spans[last].to = i + 1
		return spans
	}
	return append(spans, rowSpan{i, i + 1})
}

// grow makes room for at least n rows; it doubles, so that a steady batch stops allocating.
func (m *Model) grow(n int) {
	b, c := &m.batch, &m.config
	if n <= b.size {
		return
	}
	b.size = min(max(n, 2*b.size), maxBatch)
	queries, keys := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	columns := func(n int, next ...*linear) *kernel.Columns { return kernel.NewColumns(n, b.size, m.needs(next)) }
	var project, raise, lower, join []*linear
	for i := range m.layers {
		y := &m.layers[i]
		project = append(project, &y.query, &y.key, &y.value)
		join = append(join, &y.output)
		raise = append(raise, &y.gate, &y.up)
		lower = append(lower, &y.down)
	}
	b.x = columns(c.Embedding)
	b.attentionIn, b.feedForwardIn = columns(c.Embedding, project...), columns(c.Embedding, raise...)
	b.outputIn = columns(c.Embedding, &m.output)
	b.query, b.key, b.value = columns(queries), columns(keys), columns(keys)
	b.sum = columns(queries, join...)
	b.gate, b.up = columns(c.FeedForward, lower...), columns(c.FeedForward)
	tables := make([]float32, 4*b.size*c.rope.dims)
	b.rope = make([][4][]float32, b.size)
	for i := range b.rope {
		for j := range 4 {
			b.rope[i][j], tables = tables[:c.rope.dims:c.rope.dims], tables[c.rope.dims:]
		}
	}
	b.spans, b.last = make([]rowSpan, 0, b.size), make([]rowSpan, 0, b.size)
	b.seat = make([]int, b.size)
	b.wanted, b.logits = make([]int, 0, b.size), make([][]float32, 0, b.size)
}

// needs returns the forms of activations that these matrices together ask for.
func (m *Model) needs(next []*linear) kernel.Forms {
	var forms kernel.Forms
	for _, l := range next {
		forms |= m.kernel.Needs(l.Matrix)
	}
	return forms
}
