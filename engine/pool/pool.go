// Package pool hands out the blocks of the KV memory. A block holds the keys and
// values of a fixed number of tokens over all layers; it is counted by reference,
// so that sequences with a common beginning can hold the same blocks.
//
// A full block has a key, the hash of all tokens up to its end. A keyed block that
// nobody holds stays cached, for whoever comes with the same beginning, until it is
// the one that was let go longest ago and a block is needed.
//
// A pool and its chains belong to one goroutine, the scheduler's loop; Used and
// Total alone may be called by any.
//
// Read: pool, cache, chain.
package pool

import (
	"fmt"
	"sync/atomic"
)

// Pool knows which blocks are free, which are cached and how often each other is
// held. It holds their numbers only; the memory is the model's.
type Pool struct {
	tokens int     // that one block holds
	free   []int32 // a stack: the block freed last is likeliest in the CPU's cache
	blocks []block
	cache  cache
	used   atomic.Int64
}

// block is who holds a block, and what it is known to hold.
type block struct {
	refs  int32 // holders
	idle  int32 // those among them that would let go for somebody in need
	keyed bool
	key   Key
	older int32 // neighbours in the cache, while nobody holds it
	newer int32
}

// New returns a pool of blocks of so many tokens each, all free.
func New(blocks, tokens int) *Pool {
	p := &Pool{tokens: tokens, free: make([]int32, blocks), blocks: make([]block, blocks)}
	for i := range p.free {
		p.free[i] = int32(blocks - 1 - i)
	}
	p.cache.init()
	return p
}

// Total returns the number of blocks.
func (p *Pool) Total() int { return len(p.blocks) }

// Used returns the number of blocks that are held by somebody who would not let go.
func (p *Pool) Used() int { return int(p.used.Load()) }

// Free returns the number of blocks that nobody holds, the cached ones included.
func (p *Pool) Free() int { return len(p.free) + p.cache.size }

// Cached returns how many blocks nobody holds and still have a key.
func (p *Pool) Cached() int { return p.cache.size }

// Blocks returns how many blocks so many tokens take.
func (p *Pool) Blocks(tokens int) int { return (tokens + p.tokens - 1) / p.tokens }

// take returns a block, held once: a free one or the oldest of the cache. There must
// be one.
func (p *Pool) take() int32 {
	var b int32
	if last := len(p.free) - 1; last >= 0 {
		b, p.free = p.free[last], p.free[:last]
	} else {
		b = p.evict()
	}
	p.hold(b, false)
	return b
}

// hold counts one more holder.
func (p *Pool) hold(b int32, idle bool) {
	k := &p.blocks[b]
	if k.refs == k.idle && !idle {
		p.used.Add(1)
	}
	k.refs++
	if idle {
		k.idle++
	}
}

// release counts one holder less. After the last one the block is cached if it has a
// key, and free if not.
func (p *Pool) release(b int32, idle bool) {
	k := &p.blocks[b]
	if k.refs < 1 || idle && k.idle < 1 {
		panic(fmt.Sprintf("pool: block %d is freed twice", b))
	}
	k.refs--
	if idle {
		k.idle--
	} else if k.refs == k.idle {
		p.used.Add(-1)
	}
	switch {
	case k.refs > 0:
	case k.keyed:
		p.cache.add(p.blocks, b)
	default:
		p.free = append(p.free, b)
	}
}
