package pool

import "fmt"

// Key tells what a full block holds: all tokens from the beginning to its end, and
// whatever else the keys and values depend on. Equal keys mean equal bytes.
type Key [32]byte

// cache finds blocks by their keys, held or not. Those that nobody holds are in a
// list by the time they were let go.
type cache struct {
	byKey          map[Key]int32
	oldest, newest int32
	size           int // of the list
}

const none = -1

func (c *cache) init() {
	c.byKey = map[Key]int32{}
	c.oldest, c.newest = none, none
}

// add puts a block that nobody holds any more at the newest end.
func (c *cache) add(blocks []block, b int32) {
	blocks[b].older, blocks[b].newer = c.newest, none
	if c.newest == none {
		c.oldest = b
	} else {
		blocks[c.newest].newer = b
	}
	c.newest = b
	c.size++
}

// remove takes a block out of the list.
func (c *cache) remove(blocks []block, b int32) {
	k := &blocks[b]
	if k.older == none {
		c.oldest = k.newer
	} else {
		blocks[k.older].newer = k.newer
	}
	if k.newer == none {
		c.newest = k.older
	} else {
		blocks[k.newer].older = k.older
	}
	c.size--
}

// evict takes the oldest block out of the cache, which must not be empty, and forgets
// what it holds.
func (p *Pool) evict() int32 {
	b := p.cache.oldest
	p.cache.remove(p.blocks, b)
	p.forget(b)
	return b
}

func (p *Pool) forget(b int32) {
	k := &p.blocks[b]
	delete(p.cache.byKey, k.key)
	k.keyed = false
}

// Flush forgets what every cached block holds and frees it. It returns how many
// there were.
func (p *Pool) Flush() int {
	n := p.cache.size
	for range n {
		p.free = append(p.free, p.evict())
	}
	return n
}

// find returns the block of a key.
func (p *Pool) find(key Key) (int32, bool) {
	b, ok := p.cache.byKey[key]
	return b, ok
}

// share holds a block that was found, be it in the cache or held by others.
func (p *Pool) share(b int32, idle bool) {
	if p.blocks[b].refs == 0 {
		if !p.blocks[b].keyed {
			panic(fmt.Sprintf("pool: block %d is shared while free", b))
		}
		p.cache.remove(p.blocks, b)
	}
	p.hold(b, idle)
}
