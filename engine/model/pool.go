package model

import (
	"errors"
	"fmt"

	"github.com/semantic-pod/semantic/engine/kernel"
)

// BlockTokens is how many tokens a KV block holds.
const BlockTokens = kernel.BlockTokens

// Pool is the memory of the keys and values: blocks of BlockTokens tokens over all layers,
// as Options.KV says. Who holds which block is the caller's business.
type Pool struct {
	memory     *region
	blocks     int
	blockBytes int
}

// NewPool gets the memory of so many blocks from the system. The system gives it page by page, as
// blocks are first written.
func (m *Model) NewPool(blocks int) (*Pool, error) {
	size := m.blockBytes()
	if blocks <= 0 || blocks > 1<<31-1 || blocks > 1<<46/size {
		return nil, fmt.Errorf("cannot make a KV pool of %d blocks of %d bytes", blocks, size)
	}
	memory, err := newRegion(blocks * size)
	if err != nil {
		return nil, fmt.Errorf("cannot make a KV pool of %d blocks: %w", blocks, err)
	}
	return &Pool{memory: memory, blocks: blocks, blockBytes: size}, nil
}

// blockBytes returns the size of a block: keys and values of all layers and KV heads.
func (m *Model) blockBytes() int {
	return 2 * m.config.Layers * m.config.KVHeads * m.kv.HeadBytes(m.config.HeadDim)
}

// Blocks returns how many blocks the pool has.
func (p *Pool) Blocks() int { return p.blocks }

// BlockBytes returns the size of a block.
func (p *Pool) BlockBytes() int { return p.blockBytes }

// Block returns the content of a block as it is stored, to be written to and read from disk.
func (p *Pool) Block(i int32) []byte {
	return p.memory.bytes[int(i)*p.blockBytes:][:p.blockBytes:p.blockBytes]
}

var errPoolClosed = errors.New("the KV pool is closed")

// Close gives the memory back. The pool must not be used afterwards.
func (p *Pool) Close() error {
	if p.memory.mapped == nil {
		return errPoolClosed
	}
	return p.memory.free()
}
