package model

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// sequence is a made-up prompt with its blocks.
type sequence struct {
	tokens []int32
	table  []int32
}

func sequences(r *rand.Rand, p *Pool, vocab int, lengths ...int) []sequence {
	free := r.Perm(p.Blocks())
	var out []sequence
	for _, n := range lengths {
		s := sequence{}
		for range n {
			s.tokens = append(s.tokens, int32(r.IntN(vocab)))
		}
		for range (n + BlockTokens - 1) / BlockTokens {
			s.table, free = append(s.table, int32(free[0])), free[1:]
		}
		out = append(out, s)
	}
	return out
}

// rows returns the tokens from up to to, with room for the logits of all.
func (s sequence) rows(from, to, vocab int) []Row {
	var rows []Row
	for i := from; i < to; i++ {
		rows = append(rows, Row{Token: s.tokens[i], Position: i, Blocks: s.table, Logits: make([]float32, vocab)})
	}
	return rows
}

func equalLogits(t *testing.T, what string, got, want []Row) {
	t.Helper()
	for i := range want {
		for j, w := range want[i].Logits {
			if g := got[i].Logits[j]; math.Float32bits(g) != math.Float32bits(w) || math.IsNaN(float64(g)) {
				t.Fatalf("%s: logit %d after position %d is %g, alone it is %g", what, j, want[i].Position, g, w)
			}
		}
	}
}

func forward(t testing.TB, m *Model, p *Pool, rows []Row) {
	t.Helper()
	if err := m.Forward(p, rows); err != nil {
		t.Fatal(err)
	}
}

// TestRowHasTheSameBitsInEveryBatch: token by token, in chunks of any size, with other sequences
// between, on any number of threads and by any implementation.
func TestRowHasTheSameBitsInEveryBatch(t *testing.T) {
	s := small.with(func(s *shape) { s.types, s.heads = 8, 6 })
	lengths := []int{41, 7, 600, 18}
	var alone [][]Row
	for _, o := range []Options{{Threads: 1}, {Threads: 2}, {Threads: 3, Variant: kernel.Best()}} {
		r := rand.New(rand.NewPCG(5, 5))
		m := s.load(t, o)
		p := newPool(t, m, 64)
		all := sequences(r, p, s.vocab, lengths...)
		if alone == nil {
			for _, q := range all {
				var rows []Row
				for i := range q.tokens {
					one := q.rows(i, i+1, s.vocab)
					forward(t, m, p, one)
					rows = append(rows, one...)
				}
				alone = append(alone, rows)
			}
		}
		clear(p.memory.bytes)
		done, got := make([]int, len(all)), make([][]Row, len(all))
		for left := true; left; {
			left = false
			var batch []Row
			for i, q := range all {
				end := min(done[i]+1+r.IntN(90), len(q.tokens))
				rows := q.rows(done[i], end, s.vocab)
				batch, got[i], done[i] = append(batch, rows...), append(got[i], rows...), end
				left = left || end < len(q.tokens)
			}
			forward(t, m, p, batch)
		}
		for i := range all {
			equalLogits(t, "mixed batches", got[i], alone[i])
		}
	}
}

func TestVariantsGiveTheSameBits(t *testing.T) {
	s := small.with(func(s *shape) { s.types, s.heads = 3, 6 })
	var want []Row
	for _, v := range kernel.Variants() {
		m := s.load(t, Options{Threads: 2, Variant: v})
		p := newPool(t, m, 8)
		q := sequences(rand.New(rand.NewPCG(6, 6)), p, s.vocab, 70)[0]
		rows := q.rows(0, 70, s.vocab)
		forward(t, m, p, rows)
		if want == nil {
			want = rows
		}
		equalLogits(t, v.Name, rows, want)
	}
}

func TestDefaultModelGivesTheSameBitsBatchedAndAlone(t *testing.T) {
	m := loadModel(t, modelPath(t, defaultModel, makeModel), Options{Threads: 2})
	p := newPool(t, m, 64)
	vocab := m.Config().Vocab
	all := sequences(rand.New(rand.NewPCG(7, 7)), p, vocab, 40, 33, 50)
	var alone, batch []Row
	for _, q := range all {
		rows := q.rows(0, len(q.tokens), vocab)
		for i := range rows[:len(rows)-1] {
			rows[i].Logits = nil
		}
		for i := range rows {
			forward(t, m, p, rows[i:i+1])
		}
		alone = append(alone, rows[len(rows)-1])
		again := append([]Row(nil), rows...)
		again[len(again)-1].Logits = make([]float32, vocab)
		batch = append(batch, again...)
	}
	clear(p.memory.bytes)
	forward(t, m, p, batch)
	var last []Row
	for _, r := range batch {
		if r.Logits != nil {
			last = append(last, r)
		}
	}
	equalLogits(t, "one batch of three prompts", last, alone)
}

// TestStoredBlocksAnswerInAnotherPool: a sequence's blocks, copied elsewhere, continue it.
func TestStoredBlocksAnswerInAnotherPool(t *testing.T) {
	m := small.load(t, Options{Threads: 2})
	first, second := newPool(t, m, 8), newPool(t, m, 8)
	q := sequences(rand.New(rand.NewPCG(8, 8)), first, small.vocab, 60)[0]
	want := q.rows(0, 60, small.vocab)
	forward(t, m, first, want)
	moved := sequence{tokens: q.tokens}
	for i, b := range q.table {
		to := int32(7 - i)
		if n := copy(second.Block(to), first.Block(b)); n != first.BlockBytes() || i > 7 {
			t.Fatalf("a block of %d bytes", n)
		}
		moved.table = append(moved.table, to)
	}
	got := moved.rows(59, 60, small.vocab)
	forward(t, m, second, got)
	equalLogits(t, "moved blocks", got, want[59:])
}

func TestRowsOutsideTheModelAreRefused(t *testing.T) {
	m := small.load(t, Options{Threads: 1})
	p := newPool(t, m, 4)
	good := []int32{0, 1, 2, 3}
	for want, row := range map[string]Row{
		"token -1 is not in":          {Token: -1, Blocks: good},
		"token 300 is not in":         {Token: 300, Blocks: good},
		"position -1 is beyond":       {Position: -1, Blocks: good},
		"position 2048 is beyond":     {Position: 2048, Blocks: make([]int32, 200)},
		"position 64 needs 5 blocks":  {Position: 64, Blocks: good},
		"position 0 needs 1 blocks":   {},
		"block 4 is not in the pool":  {Position: 20, Blocks: []int32{0, 4}},
		"block -1 is not in the pool": {Position: 20, Blocks: []int32{-1, 0}},
		"room for 7 logits":           {Blocks: good, Logits: make([]float32, 7)},
	} {
		if err := m.Forward(p, []Row{{Blocks: good}, row}); !contains(err, want) || !contains(err, "row 1") {
			t.Errorf("%v, want %q of row 1", err, want)
		}
	}
	if err := m.Forward(p, nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	other := small.with(func(s *shape) { s.layers = 1 }).load(t, Options{Threads: 1})
	if err := m.Forward(newPool(t, other, 4), []Row{{Blocks: good}}); !contains(err, "KV pool has blocks of") {
		t.Errorf("another model's pool: %v", err)
	}
	for _, n := range []int{0, -1, 1 << 40} {
		if _, err := m.NewPool(n); err == nil {
			t.Errorf("a pool of %d blocks is made", n)
		}
	}
}

func TestClosedModelAndPoolSayThatTheyAre(t *testing.T) {
	m, err := Load(small.parsed(t), Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.NewPool(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	row := []Row{{Blocks: []int32{0}}}
	if err := m.Forward(p, row); !contains(err, "pool is closed") || !contains(p.Close(), "pool is closed") {
		t.Errorf("a closed pool: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Forward(p, row); !contains(err, "model is closed") || !contains(m.Close(), "model is closed") {
		t.Errorf("a closed model: %v", err)
	}
}

func TestFileCutShortWhileItIsReadIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	data := small.with(func(s *shape) { s.vocab = 5000 }).file().Bytes()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int64{0, int64(len(data) / 2)} {
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, left); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(f, Options{Threads: 2}); !contains(err, "the file has changed") {
			t.Errorf("a file cut to %d bytes after it was opened: %v", left, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForwardAllocatesNothing(t *testing.T) {
	m := small.load(t, Options{Threads: 2})
	p := newPool(t, m, 64)
	rows := []Row{}
	for i, q := range sequences(rand.New(rand.NewPCG(9, 9)), p, small.vocab, 20, 30, 40) {
		rows = append(rows, q.rows(0, 1+i*9, small.vocab)...)
	}
	run := func() { forward(t, m, p, rows) }
	run()
	if n := testing.AllocsPerRun(50, run); n != 0 {
		t.Errorf("%g allocations a pass, want none", n)
	}
}

// TestForwardGoesOnWhenOthersHoldTheCores: workers that wait must leave their core, or every
// phase would take as long as the system lets the others run. The bound is far above what is
// measured (about twice the time), and far below what spinning costs.
func TestForwardGoesOnWhenOthersHoldTheCores(t *testing.T) {
	m := small.load(t, Options{Threads: 4})
	p := newPool(t, m, 4)
	q := sequences(rand.New(rand.NewPCG(10, 10)), p, small.vocab, 16)[0]
	rows := q.rows(0, 16, small.vocab)
	start := time.Now()
	for range 20 {
		forward(t, m, p, rows) // more workers than cores
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("20 passes of a tiny model took %v", took)
	}
}
