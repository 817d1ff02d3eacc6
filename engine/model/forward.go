package model

import "github.com/semantic-pod/semantic/engine/kernel"

// worker is what one worker keeps for itself.
type worker struct {
	scratch *kernel.Scratch
	queries []kernel.Query
}

func (m *Model) newWorkers(n int) {
	m.workers = make([]worker, n)
	for i := range m.workers {
		m.workers[i] = worker{kernel.NewScratch(m.config.HeadDim), make([]kernel.Query, 0, kernel.MaxQueries)}
	}
	m.pass = m.forward
	m.headJobs = m.config.KVHeads
	if m.config.Heads/m.config.KVHeads*m.config.HeadDim%kernel.BlockElems != 0 {
		m.headJobs = 1
	}
}

// Forward computes one batch of rows, decoded tokens and chunks of prompts mixed. Rows of one
// sequence must be consecutive and in rising position, and everything before them must have been
// computed into their blocks. A row gives the same bits whatever else is in the batch.
func (m *Model) Forward(p *Pool, rows []Row) error {
	if err := m.check(p, rows); err != nil {
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), maxBatch)
		m.begin(p, rows[:n])
		m.team.Run(m.pass)
		rows = rows[n:]
	}
	return nil
}

// forward is the pass as each worker runs it. Every call of Each is a phase: its pieces are
// shared, and all are done before the next phase begins.
func (m *Model) forward(id int) {
	w, b, rows := &m.workers[id], &m.batch, len(m.batch.rows)
	m.ahead(id, &m.layers[0].query)
	m.team.Each(id, rows, m.embed)
	for i := range m.layers {
		y := &m.layers[i]
		m.team.Each(id, rows, func(r int) { m.normalize(r, b.attentionIn, y.attentionNorm) })
		m.ahead(id, &y.output)
		m.team.Each(id, y.query.pieces+y.key.pieces+y.value.pieces, func(i int) { m.project(w, y, i, rows) })
		m.team.Each(id, rows, func(r int) { m.place(w, r, i) })
		spans := b.spans
		if i == len(m.layers)-1 {
			// Only the rows whose logits are asked for go further; they move together.
			spans, rows = b.last, len(b.wanted)
		}
		m.team.Each(id, len(spans)*m.headJobs+1, func(j int) { m.attend(w, spans, j-1, i) })
		m.ahead(id, &y.gate)
		m.team.Each(id, y.output.pieces, func(i int) { m.multiply(w, &y.output, i, b.sum, b.x.Vectors(0, rows), true) })
		m.team.Each(id, rows, func(r int) { m.normalize(r, b.feedForwardIn, y.feedForwardNorm) })
		m.ahead(id, &y.down)
		m.team.Each(id, y.gate.pieces, func(i int) { m.feedForward(w, y, i, rows) })
		m.ahead(id, m.after(i))
		m.team.Each(id, y.down.pieces, func(i int) { m.multiply(w, &y.down, i, b.gate, b.x.Vectors(0, rows), true) })
	}
	m.team.Each(id, rows, func(r int) { m.normalize(r, b.outputIn, m.outputNorm) })
	m.team.Each(id, m.output.pieces, func(i int) { m.multiply(w, &m.output, i, b.outputIn, b.logits, false) })
}

// after returns the matrix that comes after a layer.
func (m *Model) after(layer int) *linear {
	if layer+1 < len(m.layers) {
		return &m.layers[layer+1].query
	}
	return &m.output
}

// ahead says which matrix the worker's next product is with.
func (m *Model) ahead(worker int, l *linear) {
	piece := min(worker, l.pieces) // the one behind the last is empty
	m.team.Ahead(worker, l.Part(min(piece*l.step, l.Panels()), l.end(piece)))
}

// embed begins a row: the token's embedding, and the angles of its position.
func (m *Model) embed(r int) {
	b := &m.batch
	row := &b.rows[r]
	m.embedding.Row(b.x.Vector(r), int(row.Token))
	t := &b.rope[r]
	m.config.rope.tables(row.Position, m.config.queryScale, t[0], t[1], t[2], t[3])
}

// normalize writes the norm of a row of the residual stream, ready for the matrices that follow.
func (m *Model) normalize(row int, dst *kernel.Columns, weight []float32) {
	m.kernel.RMSNorm(dst.Vector(row), m.batch.x.Vector(row), weight, m.config.epsilon)
	m.kernel.Quantize(dst, row, 0, m.config.Embedding)
}

func (l *linear) end(piece int) int { return min((piece+1)*l.step, l.Panels()) }

// multiply computes one piece of a product for as many columns of x as out has vectors.
func (m *Model) multiply(w *worker, l *linear, piece int, x *kernel.Columns, out [][]float32, add bool) {
	if len(out) > 0 {
		m.kernel.Mul(w.scratch, l.Matrix, piece*l.step, l.end(piece), x, 0, out, add)
	}
}

// project computes one piece of the queries, the keys or the values.
func (m *Model) project(w *worker, y *layer, piece, rows int) {
	b := &m.batch
	if piece < y.query.pieces {
		m.multiply(w, &y.query, piece, b.attentionIn, b.query.Vectors(0, rows), false)
		return
	}
	if piece -= y.query.pieces; piece < y.key.pieces {
		m.multiply(w, &y.key, piece, b.attentionIn, b.key.Vectors(0, rows), false)
		return
	}
	m.multiply(w, &y.value, piece-y.key.pieces, b.attentionIn, b.value.Vectors(0, rows), false)
}

// place finishes the queries and keys of a row and stores its keys and values.
func (m *Model) place(w *worker, r, layer int) {
	b, c, y := &m.batch, &m.config, &m.layers[layer]
	row, t := &b.rows[r], &b.rope[r]
	query, key, value := b.query.Vector(r), b.key.Vector(r), b.value.Vector(r)
	addBias(query, y.queryBias)
	addBias(key, y.keyBias)
	addBias(value, y.valueBias)
	if y.queryNorm != nil {
		m.normHeads(query, y.queryNorm, c.Heads)
		m.normHeads(key, y.keyNorm, c.KVHeads)
	}
	m.kernel.Rope(query, t[2], t[3], c.Heads, c.HeadDim, c.rope.halves)
	m.kernel.Rope(key, t[0], t[1], c.KVHeads, c.HeadDim, c.rope.halves)
	if c.rope.dims < c.HeadDim {
		scaleRest(query, c.HeadDim, c.rope.dims, c.queryScale)
	}
	block, slot := row.Blocks[row.Position/BlockTokens], row.Position%BlockTokens
	for h := range c.KVHeads {
		heads := m.heads(layer, h)
		m.kernel.Store(w.scratch, &heads, block, slot, key[h*c.HeadDim:], value[h*c.HeadDim:])
	}
}

func addBias(x, bias []float32) {
	for i, f := range bias {
		x[i] += f
	}
}

func (m *Model) normHeads(x, weight []float32, heads int) {
	dim := m.config.HeadDim
	for h := range heads {
		head := x[h*dim : (h+1)*dim]
		m.kernel.RMSNorm(head, head, weight, m.config.epsilon)
	}
}

// scaleRest scales the elements of the queries that do not turn; the others were scaled as they
// turned.
func scaleRest(query []float32, dim, turned int, factor float32) {
	for at := 0; at+dim <= len(query); at += dim {
		for i := turned; i < dim; i++ {
			query[at+i] *= factor
		}
	}
}

// heads says where the keys and values of one KV head of one layer lie in a block.
func (m *Model) heads(layer, head int) kernel.Heads {
	c, p := &m.config, m.batch.pool
	size := m.kv.HeadBytes(c.HeadDim)
	at := 2 * size * (layer*c.KVHeads + head)
	return kernel.Heads{Memory: p.memory.bytes, BlockBytes: p.blockBytes, Keys: at, Values: at + size, Dim: c.HeadDim, Type: m.kv}
}

// attend answers the queries of one span of rows to one KV head, or to all of them if a single
// head's results are no whole number of quantized blocks. The job before the first moves the
// wanted rows together in the last layer.
func (m *Model) attend(w *worker, spans []rowSpan, job, layer int) {
	b, c := &m.batch, &m.config
	last := layer == c.Layers-1
	if job < 0 {
		for seat, row := range b.wanted {
			if last && seat != row {
				copy(b.x.Vector(seat), b.x.Vector(row))
			}
		}
		return
	}
	span, first, count := spans[job/m.headJobs], job%m.headJobs, c.KVHeads/m.headJobs
	group := c.Heads / c.KVHeads
	width := count * group * c.HeadDim
	for h := first; h < first+count; h++ {
		heads := m.heads(layer, h)
		for r := span.from; r < span.to; r++ {
			query, out := b.query.Vector(r), b.sum.Vector(b.seatOf(r, last))
			for q := h * group; q < (h+1)*group; q++ {
				if len(w.queries) == cap(w.queries) {
					m.flush(w, &heads, r)
				}
				at, end := q*c.HeadDim, (q+1)*c.HeadDim
				w.queries = append(w.queries, kernel.Query{Vector: query[at:end], Out: out[at:end], Tokens: b.rows[r].Position + 1})
			}
		}
		m.flush(w, &heads, span.to-1)
	}
	for r := span.from; r < span.to; r++ {
		m.kernel.Quantize(b.sum, b.seatOf(r, last), first*width, (first+1)*width)
	}
}

// seatOf returns where the results of a row go: to its own place, or among the wanted rows.
func (b *batch) seatOf(row int, last bool) int {
	if last {
		return b.seat[row]
	}
	return row
}

// flush answers the queries that a worker has gathered; row is one of their sequence.
func (m *Model) flush(w *worker, heads *kernel.Heads, row int) {
	if len(w.queries) > 0 {
		m.kernel.Attend(w.scratch, heads, m.batch.rows[row].Blocks, w.queries)
	}
	w.queries = w.queries[:0]
}

// feedForward computes one piece of the gate and of the way up, joins them, and leaves the result
// in the form that the way down takes.
func (m *Model) feedForward(w *worker, y *layer, piece, rows int) {
	b := &m.batch
	m.multiply(w, &y.gate, piece, b.feedForwardIn, b.gate.Vectors(0, rows), false)
	m.multiply(w, &y.up, piece, b.feedForwardIn, b.up.Vectors(0, rows), false)
	size := y.gate.step * y.gate.PanelRows()
	from := piece * size
	to := min(from+size, m.config.FeedForward)
	for r := range rows {
		gate := b.gate.Vector(r)[from:to]
		m.kernel.SwiGLU(gate, gate, b.up.Vector(r)[from:to])
		m.kernel.Quantize(b.gate, r, from, to)
	}
}
