package engine

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/pool"
)

// lineage makes the keys by which KV blocks are found again. The key of a block is
// the SHA-256 of its tokens and of the key before it, so that it stands for the whole
// prefix; the first one stands on the model's fingerprint, the KV type and the tenant.
// Nobody can make a prompt whose blocks are another tenant's, nor tell from the time
// of an answer what another tenant asked.
type lineage struct {
	fingerprint [32]byte
	kvType      string // as in --kv-type
	shared      bool   // tenants share their prefixes (--share-prefix-across-tenants)
}

// root is the key before a tenant's first block.
func (l *lineage) root(tenant string) pool.Key {
	b := append([]byte("semantic blocks "+l.kvType+"\x00"), l.fingerprint[:]...)
	if l.shared {
		return sha256.Sum256(append(b, "shared"...))
	}
	return sha256.Sum256(append(append(b, "tenant "...), tenant...))
}

// extend appends the keys of all full blocks of the tokens that keys lacks.
func extend(keys []pool.Key, root pool.Key, tokens []int32) []pool.Key {
	var b [len(root) + 4*model.BlockTokens]byte
	for len(keys) < len(tokens)/model.BlockTokens {
		previous := root
		if n := len(keys); n > 0 {
			previous = keys[n-1]
		}
		copy(b[:], previous[:])
		for i, token := range tokens[len(keys)*model.BlockTokens:][:model.BlockTokens] {
			binary.LittleEndian.PutUint32(b[len(root)+4*i:], uint32(token))
		}
		keys = append(keys, sha256.Sum256(b[:]))
	}
	return keys
}

// reusable returns the keys of the blocks that a sequence may take over: all full
// ones, but for the last token, which has to be computed for what follows it.
func (s *sequence) reusable() []pool.Key {
	s.keys = extend(s.keys, s.root, s.tokens)
	return s.keys[:(len(s.tokens)-1)/model.BlockTokens]
}

// adopt takes over the blocks that the pool has of the sequence's beginning. Kernels
// give the same bits whatever the batch and attention reads a block as it is stored,
// so that the answer is the same as without them.
func (s *sequence) adopt() {
	s.sealed = s.chain.Adopt(s.reusable())
	s.computed = s.sealed * model.BlockTokens
}

// seal gives the blocks that became full their keys.
func (s *sequence) seal() {
	full := s.computed / model.BlockTokens
	if full == s.sealed {
		return
	}
	s.keys = extend(s.keys, s.root, s.tokens)
	for ; s.sealed < full; s.sealed++ {
		s.chain.Seal(s.sealed, s.keys[s.sealed])
	}
}

// letGo gives back all blocks. Those that are full can be adopted again for as long
// as nobody takes them.
func (s *sequence) letGo() {
	s.chain.Release()
	s.computed, s.sealed = 0, 0
}
