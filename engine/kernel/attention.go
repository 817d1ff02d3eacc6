package kernel

import "math"

const (
	// MaxQueries is how many queries Attend takes at a time.
	MaxQueries = 16
	// spanTokens is how many tokens are weighed at a time. Spans begin at multiples of it, so that
	// the result does not depend on what else is computed with it.
	spanTokens = 512
)

// Query is one head's question about the tokens before it.
type Query struct {
	Vector []float32 // already scaled by the square root of the head's size
	Out    []float32
	Tokens int // how many tokens it sees, from the first
}

// softmaxSum is what is known of a query after some spans.
type softmaxSum struct{ maximum, sum float32 }

// NewScratch returns the memory that one worker needs for heads of dim elements.
func NewScratch(dim int) *Scratch {
	s := &Scratch{token: make([]byte, (dim+BlockElems-1)/BlockElems*Bytes.blockBytes()), state: make([]softmaxSum, 2*MaxQueries)}
	for range MaxQueries {
		s.weights = append(s.weights, make([]float32, spanTokens))
		s.part = append(s.part, make([]float32, dim))
	}
	return s
}

// Attend answers at most MaxQueries queries about one sequence, whose blocks are in table.
func (v *Variant) Attend(s *Scratch, h *Heads, table []int32, queries []Query) {
	tokens := 0
	for i := range queries {
		tokens = max(tokens, queries[i].Tokens)
	}
	for start := 0; start < tokens; start += spanTokens {
		end := min(start+spanTokens, tokens)
		v.weigh(s, h, table, queries, start, end)
		v.sumValues(s, h, table, queries, start, end)
		for i := range queries {
			if start > 0 && queries[i].Tokens > start {
				s.state[i].merge(&s.state[MaxQueries+i], queries[i].Out, s.part[i])
			}
		}
	}
	for i := range queries {
		scale(queries[i].Out, 1/s.state[i].sum)
	}
}

// weigh computes each query's softmax over the tokens from start to end.
func (v *Variant) weigh(s *Scratch, h *Heads, table []int32, queries []Query, start, end int) {
	p := &s.span
	p.set(h, h.Keys, 0, table, start, end)
	for i := range p.after {
		block := table[min(start/BlockTokens+i, (end-1)/BlockTokens)]
		p.after[i] = &h.Memory[int(block)*h.BlockBytes+h.Values]
	}
	scores, scores8 := v.scores, v.scores8
	if h.Type == KVQ8 {
		scores, scores8 = v.scoresQ8, nil
	}
	for at := 0; at < len(queries); {
		run, n := scores, 4
		if scores8 != nil && len(queries)-at > 4 {
			run, n = scores8, 8
		}
		for j := range n {
			k := min(at+j, len(queries)-1)
			p.in[j], p.out[j] = &queries[k].Vector[0], &s.weights[k][0]
		}
		run(p)
		at += n
	}
	for i := range queries {
		weights := s.weights[i][:p.blocks*BlockTokens]
		seen := min(queries[i].Tokens, end) - start
		if seen <= 0 {
			clear(weights)
			continue
		}
		padded := (seen + lanes - 1) / lanes * lanes
		for j := seen; j < padded; j++ {
			weights[j] = float32(math.Inf(-1))
		}
		clear(weights[padded:])
		state := i
		if start > 0 {
			state += MaxQueries
		}
		s.state[state].maximum, s.state[state].sum = v.softmax(&weights[0], padded)
	}
}

// sumValues adds up the values of the tokens from start to end, by their weights.
func (v *Variant) sumValues(s *Scratch, h *Heads, table []int32, queries []Query, start, end int) {
	p, values, values64, size := &s.span, v.values, v.values64, 2
	if h.Type == KVQ8 {
		values, values64, size = v.valuesQ8, nil, 1
	}
	for e := 0; e < h.Dim; {
		run, n := values, 16
		if values64 != nil && h.Dim-e >= 64 {
			run, n = values64, 64
		}
		p.set(h, h.Values, e, table, start, end)
		p.base = &h.Memory[h.Values+size*e]
		for at := 0; at < len(queries); at += 4 {
			for j := range 4 {
				k := min(at+j, len(queries)-1)
				p.in[j], p.out[j] = &s.weights[k][0], &s.part[k][e]
				if start == 0 {
					p.out[j] = &queries[k].Out[e]
				}
			}
			run(p)
		}
		e += n
	}
}

// set makes p the tokens from start to end, of keys or values that begin at offset, the scales being
// those of element e.
func (p *span) set(h *Heads, offset, e int, table []int32, start, end int) {
	tokens := end - start
	p.base = &h.Memory[offset]
	if h.Type == KVQ8 {
		p.scales = &h.Memory[offset+BlockTokens*h.Dim+e/BlockElems*2]
		p.scaleStep = h.Dim / BlockElems * 2
	}
	p.table = &table[start/BlockTokens]
	p.blocks = (tokens + BlockTokens - 1) / BlockTokens
	p.last = tokens - (p.blocks-1)*BlockTokens
	p.blockBytes, p.dim = h.BlockBytes, h.Dim
}

// merge adds the next span to what is known: both sums are brought to the larger maximum.
func (a *softmaxSum) merge(b *softmaxSum, out, part []float32) {
	maximum := max(a.maximum, b.maximum)
	old, fresh := expGo(a.maximum-maximum), expGo(b.maximum-maximum)
	a.maximum = maximum
	a.sum = fma(b.sum, fresh, a.sum*old)
	for i, p := range part {
		out[i] = fma(p, fresh, out[i]*old)
	}
}

func scale(x []float32, factor float32) {
	for i := range x {
		x[i] *= factor
	}
}
