package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// paged is made-up keys and values of one head in blocks that lie in no order.
type paged struct {
	heads        Heads
	table        []int32
	keys, values [][]float32
}

func makePaged(v *Variant, r *rand.Rand, t KVType, tokens, dim int) *paged {
	blocks := (tokens + BlockTokens - 1) / BlockTokens
	size := 3 * t.HeadBytes(dim) // another head's keys lie before
	p := &paged{heads: Heads{BlockBytes: size, Keys: t.HeadBytes(dim), Values: 2 * t.HeadBytes(dim), Dim: dim, Type: t}}
	p.heads.Memory = make([]byte, size*blocks)
	for i := range p.heads.Memory {
		p.heads.Memory[i] = 0xff // not a number, wherever nothing was stored
	}
	for _, b := range r.Perm(blocks) {
		p.table = append(p.table, int32(b))
	}
	random := func() []float32 {
		x := make([]float32, dim)
		for i := range x {
			x[i] = FromHalf(ToHalf(float32(r.NormFloat64())))
			if t == KVQ8 { // a number that a byte times a scale can be
				x[i] = float32(r.IntN(255)-127) / 64
				if i%BlockElems == 7 {
					x[i] = 127.0 / 64
				}
			}
		}
		return x
	}
	s := NewScratch(dim)
	for i := range tokens {
		p.keys, p.values = append(p.keys, random()), append(p.values, random())
		v.Store(s, &p.heads, p.table[i/BlockTokens], i%BlockTokens, p.keys[i], p.values[i])
	}
	return p
}

// answer computes attention in double precision.
func (p *paged) answer(q Query) []float64 {
	weights, sum, largest := make([]float64, q.Tokens), 0.0, math.Inf(-1)
	for t := range weights {
		for e, f := range q.Vector {
			weights[t] += float64(f) * float64(p.keys[t][e])
		}
		largest = max(largest, weights[t])
	}
	out := make([]float64, len(q.Vector))
	for t := range weights {
		weights[t] = math.Exp(weights[t] - largest)
		sum += weights[t]
		for e := range out {
			out[e] += weights[t] * float64(p.values[t][e])
		}
	}
	for e := range out {
		out[e] /= sum
	}
	return out
}

func makeQueries(r *rand.Rand, count, tokens, dim int) []Query {
	queries := make([]Query, count)
	for i := range queries {
		queries[i] = Query{Vector: make([]float32, dim), Out: make([]float32, dim), Tokens: max(1, tokens-i/3)}
		for e := range dim {
			queries[i].Vector[e] = float32(r.NormFloat64())
		}
	}
	return queries
}

func TestAttentionIsRightAtEveryLength(t *testing.T) {
	for _, v := range Variants() {
		for _, dim := range []int{16, 64, 80, -32, -64, -96} {
			kv := KVF16
			if dim < 0 {
				kv, dim = KVQ8, -dim
			}
			for _, tokens := range []int{1, 15, 16, 17, 100, 512, 513, 1030} {
				r := rand.New(rand.NewPCG(uint64(dim), uint64(tokens)))
				p, s := makePaged(v, r, kv, tokens, dim), NewScratch(dim)
				for _, count := range []int{1, 3, 16} {
					queries := makeQueries(r, count, tokens, dim)
					v.Attend(s, &p.heads, p.table, queries)
					for i, q := range queries {
						for e, want := range p.answer(q) {
							near(t, fmt.Sprintf("%s: element %d of query %d of %d about %d tokens of %v", v.Name, e, i, count, q.Tokens, kv), q.Out[e], want, 1e-4)
						}
					}
				}
			}
		}
	}
}

func TestQueryHasTheSameBitsInEveryCompanyAndVariant(t *testing.T) {
	for _, kv := range []KVType{KVF16, KVQ8} {
		for _, dim := range []int{32, 160} {
			t.Run(fmt.Sprintf("%v/%d", kv, dim), func(t *testing.T) { sameBitsInEveryCompany(t, kv, dim) })
		}
	}
}

func sameBitsInEveryCompany(t *testing.T, kv KVType, dim int) {
	const tokens = 530
	r := rand.New(rand.NewPCG(21, 22))
	queries := makeQueries(r, 16, tokens, dim)
	var want [][]float32
	for _, v := range append([]*Variant{plain()}, Variants()...) {
		p, s := makePaged(v, rand.New(rand.NewPCG(1, 1)), kv, tokens, dim), NewScratch(dim)
		if want == nil {
			for i := range queries {
				v.Attend(s, &p.heads, p.table, queries[i:i+1])
				want = append(want, append([]float32(nil), queries[i].Out...))
			}
		}
		for count := 1; count <= 16; count += 3 {
			some := queries[16-count:]
			for i := range some {
				clear(some[i].Out)
			}
			v.Attend(s, &p.heads, p.table, some)
			for i, q := range some {
				equalBits(t, fmt.Sprintf("%s: query %d among %d", v.Name, i, count), q.Out, want[16-count+i])
			}
		}
	}
}

// TestAttentionReadsNoMoreOfTheTable puts the table's end where memory ends: a kernel that looks at the
// number of a block that is not there is killed by it.
func TestAttentionReadsNoMoreOfTheTable(t *testing.T) {
	const dim = 64
	for _, kv := range []KVType{KVF16, KVQ8} {
		for _, v := range Variants() {
			for _, tokens := range []int{1, 16, 17, 33, 49, 65, 512, 513, 545} {
				r := rand.New(rand.NewPCG(41, uint64(tokens)))
				p, s := makePaged(v, r, kv, tokens, dim), NewScratch(dim)
				table := tableAtTheEndOfMemory(t, p.table)
				for _, count := range []int{1, 3, 8, 16} {
					queries, want := makeQueries(r, count, tokens, dim), make([][]float32, count)
					v.Attend(s, &p.heads, p.table, queries)
					for i := range queries {
						want[i] = append([]float32(nil), queries[i].Out...)
					}
					v.Attend(s, &p.heads, table, queries)
					for i := range queries {
						equalBits(t, fmt.Sprintf("%s: query %d of %d about %d tokens of %v", v.Name, i, count, tokens, kv), queries[i].Out, want[i])
					}
				}
			}
		}
	}
}

// tableAtTheEndOfMemory copies a table to the end of a page behind which there is nothing.
func tableAtTheEndOfMemory(t *testing.T, table []int32) []int32 {
	page := unix.Getpagesize()
	size := (4*len(table) + page - 1) / page * page
	memory, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	if err := unix.Mprotect(memory[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	end := unsafe.Slice((*int32)(unsafe.Pointer(&memory[size-4*len(table)])), len(table))
	copy(end, table)
	return end
}
