package engine

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/semantic-pod/semantic/config"
)

// kvShare is the part of the memory limit that keys and values get by default:
// one in kvShare. The weights, the heap and the page cache need the rest.
const kvShare = 4

// kvBlocks returns how many blocks to allocate: what --kv-memory pays for or, by
// default, a share of the memory limit and no more than can ever be used.
func kvBlocks(budget config.Size, blockBytes, most int) (int, error) {
	if budget > 0 {
		blocks := int(int64(budget) / int64(blockBytes))
		if blocks < 1 {
			return 0, fmt.Errorf("--kv-memory=%s does not pay for one block of %d bytes", budget, blockBytes)
		}
		return blocks, nil
	}
	limit, err := memoryLimit()
	if err != nil {
		return 0, fmt.Errorf("cannot find out the memory limit; set --kv-memory: %w", err)
	}
	share := limit / kvShare
	blocks := int(min(share/uint64(blockBytes), uint64(most)))
	if blocks < 1 {
		return 0, fmt.Errorf("a quarter of the memory limit (%d bytes) does not pay for one block of %d bytes; set --kv-memory", limit, blockBytes)
	}
	return blocks, nil
}

// memoryLimit returns the bytes that this process may use: the machine's or, if
// it is less, its control group's.
func memoryLimit() (uint64, error) {
	limit, err := memlimit.FromSystem()
	if err != nil {
		return 0, err
	}
	if group, err := memlimit.FromCgroup(); err == nil && group > 0 {
		limit = min(limit, group)
	}
	return limit, nil
}
