package pool

import (
	"math/rand/v2"
	"testing"
)

func TestChainGrowsByWholeBlocksOrNotAtAll(t *testing.T) {
	p := New(4, 16)
	a, b := p.NewChain(), p.NewChain()
	if !a.Grow(1) || len(a.Blocks()) != 1 || !a.Grow(16) || len(a.Blocks()) != 1 || !a.Grow(17) || len(a.Blocks()) != 2 {
		t.Fatalf("a has %v", a.Blocks())
	}
	if b.Grow(33) || len(b.Blocks()) != 0 || p.Free() != 2 {
		t.Fatalf("b took %v of the two free blocks for three", b.Blocks())
	}
	if !b.Grow(32) || p.Used() != 4 || p.Total() != 4 {
		t.Fatalf("used %d of %d", p.Used(), p.Total())
	}
	a.Release()
	if p.Used() != 2 || !b.Grow(64) {
		t.Fatalf("blocks given back are not to be had: used %d", p.Used())
	}
}

func TestSharedBlockIsFreedByItsLastHolder(t *testing.T) {
	p := New(8, 16)
	a := p.NewChain()
	a.Grow(40)
	b := a.Fork(40) // two full blocks; the third is partly filled
	if len(b.Blocks()) != 2 || b.Blocks()[0] != a.Blocks()[0] || b.Blocks()[1] != a.Blocks()[1] {
		t.Fatalf("a %v, b %v", a.Blocks(), b.Blocks())
	}
	b.Grow(48)
	if b.Blocks()[2] == a.Blocks()[2] {
		t.Fatal("both write to one block")
	}
	a.Release()
	if p.Used() != 3 {
		t.Fatalf("used %d, want b's 3", p.Used())
	}
	b.Release()
	if p.Used() != 0 || p.Free() != 8 {
		t.Fatalf("used %d, free %d after all let go", p.Used(), p.Free())
	}
}

func TestFreeingTwiceIsCaught(t *testing.T) {
	p := New(1, 16)
	b := p.take()
	p.release(b, false)
	defer func() {
		if recover() == nil {
			t.Error("a block was freed twice in silence")
		}
	}()
	p.release(b, false)
}

func TestNoBlockIsHeldByTwoOrLost(t *testing.T) {
	p := New(64, 16)
	rng := rand.New(rand.NewPCG(1, 2))
	chains := make([]Chain, 12)
	tokens := make([]int, len(chains))
	for i := range chains {
		chains[i] = p.NewChain()
	}
	for range 20_000 {
		i, j := rng.IntN(len(chains)), rng.IntN(len(chains))
		switch rng.IntN(3) {
		case 0:
			if want := tokens[i] + rng.IntN(40); chains[i].Grow(want) {
				tokens[i] = want
			}
		case 1:
			chains[i].Release()
			tokens[i] = 0
		case 2:
			if i != j {
				chains[j].Release()
				chains[j] = chains[i].Fork(tokens[i])
				tokens[j] = len(chains[j].Blocks()) * 16
			}
		}
		holders := map[int32]int32{}
		for c := range chains {
			for _, b := range chains[c].Blocks() {
				holders[b]++
			}
		}
		if len(holders) != p.Used() || p.Used()+p.Free() != p.Total() {
			t.Fatalf("%d blocks are held, the pool says %d used and %d free of %d", len(holders), p.Used(), p.Free(), p.Total())
		}
		for b, n := range holders {
			if p.blocks[b].refs != n {
				t.Fatalf("block %d has %d holders and a count of %d", b, n, p.blocks[b].refs)
			}
		}
	}
}
