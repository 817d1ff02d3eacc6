package pool

// Chain is the blocks of one sequence in the order of its tokens: its i-th block
// holds the tokens from i times the block's size on. A block that is full never
// changes, so chains may share full blocks; the last one, which may be partly
// filled, is its chain's own.
type Chain struct {
	pool   *Pool
	blocks []int32
	idle   bool // it lets go when others are in need
}

// NewChain returns a chain without blocks.
func (p *Pool) NewChain() Chain { return Chain{pool: p} }

// Blocks returns the block table. It is valid until the chain's next change.
func (c *Chain) Blocks() []int32 { return c.blocks }

// Adopt fills an empty chain with the blocks of the longest run of keys that the
// pool has, and returns how many these are.
func (c *Chain) Adopt(keys []Key) int {
	for _, key := range keys {
		b, ok := c.pool.find(key)
		if !ok {
			break
		}
		c.pool.share(b, c.idle)
		c.blocks = append(c.blocks, b)
	}
	return len(c.blocks)
}

// Grow makes room for so many tokens in all. It takes every block that is missing
// or, if there are not enough, none.
func (c *Chain) Grow(tokens int) bool {
	missing := c.pool.Blocks(tokens) - len(c.blocks)
	if missing > c.pool.Free() {
		return false
	}
	for range missing {
		c.blocks = append(c.blocks, c.pool.take())
	}
	return true
}

// Seal says what the chain's i-th block, which is full, holds. If the pool has such a
// block already the chain takes that one and gives its own back: they are equal.
func (c *Chain) Seal(i int, key Key) {
	p, own := c.pool, c.blocks[i]
	if p.blocks[own].keyed {
		return
	}
	if other, ok := p.find(key); ok {
		p.share(other, c.idle)
		p.release(own, c.idle)
		c.blocks[i] = other
		return
	}
	p.blocks[own].keyed, p.blocks[own].key = true, key
	p.cache.byKey[key] = own
}

// Keep returns a chain that shares this one's first blocks, all of them full, and
// lets go of them when others are in need: they do not count as used.
func (c *Chain) Keep(blocks int) Chain { return c.fork(blocks, true) }

// Fork returns a chain that shares this one's full blocks of the first tokens.
func (c *Chain) Fork(tokens int) Chain { return c.fork(tokens/c.pool.tokens, false) }

func (c *Chain) fork(blocks int, idle bool) Chain {
	shared := c.blocks[:blocks]
	for _, b := range shared {
		c.pool.hold(b, idle)
	}
	return Chain{pool: c.pool, blocks: append([]int32(nil), shared...), idle: idle}
}

// Release gives every block back, the last one first.
func (c *Chain) Release() {
	for i := len(c.blocks) - 1; i >= 0; i-- {
		c.pool.release(c.blocks[i], c.idle)
	}
	c.blocks = c.blocks[:0]
}

// Discard gives every block back and forgets what those held that nobody else holds.
func (c *Chain) Discard() {
	for i := len(c.blocks) - 1; i >= 0; i-- {
		b := c.blocks[i]
		if k := &c.pool.blocks[b]; k.keyed && k.refs == 1 {
			c.pool.forget(b)
		}
		c.pool.release(b, c.idle)
	}
	c.blocks = c.blocks[:0]
}
