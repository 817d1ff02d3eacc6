package pool

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// keys returns made-up keys of a run of blocks; runs of different seeds share none.
func keys(seed byte, n int) []Key {
	out := make([]Key, n)
	for i := range out {
		out[i] = Key{seed, byte(i), 1}
	}
	return out
}

// found returns how many of the keys the pool has, from the first one on.
func found(p *Pool, keys []Key) int {
	n := 0
	for n < len(keys) {
		if _, ok := p.find(keys[n]); !ok {
			break
		}
		n++
	}
	return n
}

// filled returns a chain of so many blocks that were sealed with the keys.
func filled(t *testing.T, p *Pool, keys []Key) Chain {
	t.Helper()
	c := p.NewChain()
	n := c.Adopt(keys)
	if !c.Grow(16 * len(keys)) {
		t.Fatalf("no room for %d blocks: %d are free", len(keys), p.Free())
	}
	for i := n; i < len(keys); i++ {
		c.Seal(i, keys[i])
	}
	return c
}

func TestBlocksLetGoAreFoundAgainByTheirKeys(t *testing.T) {
	p := New(8, 16)
	a := filled(t, p, keys(1, 3))
	want := slices.Clone(a.Blocks())
	a.Release()
	if p.Used() != 0 || p.Free() != 8 || p.Cached() != 3 {
		t.Fatalf("used %d, free %d, cached %d", p.Used(), p.Free(), p.Cached())
	}
	b := p.NewChain()
	if n := b.Adopt(keys(1, 5)); n != 3 || !slices.Equal(b.Blocks(), want) || p.Used() != 3 || p.Free() != 5 {
		t.Fatalf("adopted %d: %v, want %v; used %d", n, b.Blocks(), want, p.Used())
	}
	c := p.NewChain()
	if n := c.Adopt(keys(2, 3)); n != 0 {
		t.Fatalf("%d blocks of another run were found", n)
	}
}

func TestTheBlockLetGoLongestAgoIsTakenFirst(t *testing.T) {
	p := New(6, 16)
	a, b := filled(t, p, keys(1, 3)), filled(t, p, keys(2, 3))
	a.Release()
	b.Release()
	again := filled(t, p, keys(1, 1)) // its first block was used last
	again.Release()
	c := p.NewChain()
	if !c.Grow(2 * 16) {
		t.Fatal("cached blocks are not to be had")
	}
	for _, left := range []struct {
		keys []Key
		want int
	}{{keys(1, 3), 1}, {keys(2, 3), 3}} {
		if n := found(p, left.keys); n != left.want {
			t.Errorf("of the run of %d are left %d, want %d", left.keys[0][0], n, left.want)
		}
	}
	c.Release()
	if p.Free() != 6 || p.Flush() != 4 || p.Free() != 6 || p.Cached() != 0 {
		t.Errorf("free %d, cached %d after the flush", p.Free(), p.Cached())
	}
}

func TestEqualBlocksBecomeOne(t *testing.T) {
	p := New(8, 16)
	a, b := p.NewChain(), p.NewChain()
	a.Grow(32)
	b.Grow(32)
	a.Seal(0, keys(1, 1)[0])
	b.Seal(0, keys(1, 1)[0])
	if a.Blocks()[0] != b.Blocks()[0] || a.Blocks()[1] == b.Blocks()[1] || p.Used() != 3 || p.Free() != 5 {
		t.Fatalf("a %v, b %v, used %d", a.Blocks(), b.Blocks(), p.Used())
	}
}

func TestKeptBlocksDoNotCountAsUsed(t *testing.T) {
	p := New(8, 16)
	a := filled(t, p, keys(1, 3))
	kept := a.Keep(2)
	a.Release()
	if p.Used() != 0 || p.Free() != 6 || p.Cached() != 1 {
		t.Fatalf("used %d, free %d, cached %d", p.Used(), p.Free(), p.Cached())
	}
	b := p.NewChain()
	if b.Adopt(keys(1, 3)) != 3 || p.Used() != 3 {
		t.Fatalf("used %d", p.Used())
	}
	b.Release()
	kept.Discard()
	if n := found(p, keys(1, 3)); n != 0 || p.Free() != 8 {
		t.Fatalf("%d discarded blocks are found, %d are free", n, p.Free())
	}
}

func TestDiscardLeavesWhatOthersHold(t *testing.T) {
	p := New(8, 16)
	a, b := filled(t, p, keys(1, 3)), filled(t, p, keys(1, 2))
	a.Discard()
	if n := found(p, keys(1, 3)); n != 2 || p.Used() != 2 {
		t.Fatalf("%d are found, %d used", n, p.Used())
	}
	b.Release()
}

// TestTheBooksBalance lets chains of a few runs come, share, be kept and go, and
// compares the pool's books with a count of all holders.
func TestTheBooksBalance(t *testing.T) {
	p := New(40, 16)
	rng := rand.New(rand.NewPCG(3, 4))
	chains := make([]Chain, 10)
	for i := range chains {
		chains[i] = p.NewChain()
	}
	for round := range 5_000 {
		i, j := rng.IntN(len(chains)), rng.IntN(len(chains))
		run := keys(byte(rng.IntN(4)), 1+rng.IntN(12))
		switch c := &chains[i]; rng.IntN(5) {
		case 0, 1:
			c.Release()
			*c = p.NewChain()
			n := c.Adopt(run)
			if c.Grow(16 * len(run)) {
				for k := n; k < len(run); k++ {
					c.Seal(k, run[k])
				}
			}
		case 2:
			c.Release()
			*c = p.NewChain()
		case 3:
			c.Discard()
			*c = p.NewChain()
		case 4:
			if i != j {
				c.Release()
				*c = chains[j].Keep(rng.IntN(len(chains[j].blocks) + 1))
			}
		}
		check(t, p, chains, round)
	}
}

func check(t *testing.T, p *Pool, chains []Chain, round int) {
	t.Helper()
	refs, idle := map[int32]int32{}, map[int32]int32{}
	for i := range chains {
		for _, b := range chains[i].blocks {
			refs[b]++
			if chains[i].idle {
				idle[b]++
			}
		}
	}
	used := 0
	for b := range p.blocks {
		k := &p.blocks[b]
		if k.refs != refs[int32(b)] || k.idle != idle[int32(b)] {
			t.Fatalf("round %d: block %d has %d holders, %d idle; the pool says %d and %d", round, b, refs[int32(b)], idle[int32(b)], k.refs, k.idle)
		}
		if k.refs > k.idle {
			used++
		}
		if k.keyed && p.cache.byKey[k.key] != int32(b) {
			t.Fatalf("round %d: block %d cannot be found by its key", round, b)
		}
	}
	if used != p.Used() || len(refs)+p.Free() != p.Total() {
		t.Fatalf("round %d: %d used, the pool says %d; %d held and %d free of %d", round, used, p.Used(), len(refs), p.Free(), p.Total())
	}
}
