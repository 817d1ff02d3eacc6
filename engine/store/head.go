package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The head of a file, all numbers little-endian:
//
//	 0  magic
//	 8  version of the format, uint32
//	12  flags, uint32: 1 is encrypted
//	16  fingerprint of the model, 32 bytes
//	48  KV type, 8 bytes, padded with zeros
//	56  layers, KV dim, tokens a block, bytes a block, tokens: 5 uint32
//	76  bytes of the names, uint32
//	80  created, last use, expiry: 3 int64, nanoseconds since 1970; expiry 0 is never
//	104 id of the key, 8 bytes; zeros without one
//	112 salt, 32 random bytes, new in each file
//	144 zeros to 160
//	160 names: length (uint16) and bytes of the tenant, then of the agent; encrypted with a key
//	    seal of all the above
const (
	magic         = "\x89SEMKV\r\n"
	formatVersion = 1
	flagEncrypted = 1
	preludeSize   = 160
	maxNames      = 2 * (2 + maxName)
	maxHead       = preludeSize + maxNames + tagSize // and what is read of a file at start
)

// Limits that a believable file keeps. Within them no size overflows.
const (
	maxLayers      = 1 << 16
	maxKVDim       = 1 << 24
	maxBlockTokens = 1 << 16
	maxBlockBytes  = 1 << 30
	maxTokens      = 1 << 28
)

// head says what a file holds, for whom, and of which model.
type head struct {
	fingerprint               [32]byte
	kvType                    string
	geometry                  Geometry
	tokens                    int
	created, lastUse, expires int64
	salt                      [32]byte
	tenant, id                string
}

func (g Geometry) possible() bool {
	return within(g.Layers, maxLayers) && within(g.KVDim, maxKVDim) && within(g.BlockTokens, maxBlockTokens) && within(g.BlockBytes, maxBlockBytes)
}

func within(n, limit int) bool { return n >= 1 && n <= limit }

// encode returns the head as it stands in a file, and what opens and closes the file's other parts.
func (h *head) encode(ring *keyring) ([]byte, *sealer, error) {
	b := make([]byte, preludeSize, maxHead)
	copy(b, magic)
	put := binary.LittleEndian.PutUint32
	put(b[8:], formatVersion)
	copy(b[16:48], h.fingerprint[:])
	copy(b[48:56], h.kvType)
	for i, n := range []int{h.geometry.Layers, h.geometry.KVDim, h.geometry.BlockTokens, h.geometry.BlockBytes, h.tokens, namesSize(h.tenant, h.id)} {
		put(b[56+4*i:], uint32(n))
	}
	for i, n := range []int64{h.created, h.lastUse, h.expires} {
		binary.LittleEndian.PutUint64(b[80+8*i:], uint64(n))
	}
	if ring.encrypted {
		put(b[12:], flagEncrypted)
		copy(b[104:112], ring.id[:])
	}
	copy(b[112:144], h.salt[:])
	s, err := newSealer(ring, h.salt)
	if err != nil {
		return nil, nil, err
	}
	b = s.sealHead(b, appendNames(nil, h.tenant, h.id))
	s.bind(b)
	return b, s, nil
}

// decodeHead reads the head at the beginning of b. It returns a *FileError if there is none, or
// one that this key does not open.
func decodeHead(b []byte, ring *keyring) (*head, *sealer, error) {
	if len(b) < preludeSize {
		return nil, nil, bad(Torn, "the file ends in its head")
	}
	get := binary.LittleEndian.Uint32
	switch {
	case isZero(b[:preludeSize]):
		return nil, nil, bad(Torn, "the head is all zeros")
	case string(b[:8]) != magic:
		return nil, nil, bad(Checksum, "the magic number is wrong")
	case get(b[8:]) != formatVersion:
		return nil, nil, bad(Version, fmt.Sprintf("version %d, not %d", get(b[8:]), formatVersion))
	case get(b[12:]) > flagEncrypted || get(b[76:]) > maxNames || !isZero(b[144:preludeSize]):
		return nil, nil, bad(Checksum, "the head contradicts itself")
	case (get(b[12:]) == flagEncrypted) != ring.encrypted || [8]byte(b[104:112]) != ring.id:
		return nil, nil, bad(ForeignKey, "it was written with another key, or without one")
	}
	h := &head{}
	copy(h.salt[:], b[112:144])
	s, err := newSealer(ring, h.salt)
	if err != nil {
		return nil, nil, err
	}
	size := preludeSize + int(get(b[76:])) + s.size()
	if len(b) < size {
		return nil, nil, bad(Torn, "the file ends in its head")
	}
	names, ok := s.openHead(b[:size])
	if !ok {
		return nil, nil, bad(Checksum, "the head's seal is wrong")
	}
	if !h.decodePrelude(b) || !h.decodeNames(names) {
		return nil, nil, bad(Checksum, "the head makes no sense")
	}
	s.bind(b[:size])
	return h, s, nil
}

func (h *head) decodePrelude(b []byte) bool {
	copy(h.fingerprint[:], b[16:48])
	kvType := b[48:56]
	for len(kvType) > 0 && kvType[len(kvType)-1] == 0 {
		kvType = kvType[:len(kvType)-1]
	}
	h.kvType = string(kvType)
	number := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	h.geometry = Geometry{Layers: number(56), KVDim: number(60), BlockTokens: number(64), BlockBytes: number(68)}
	h.tokens = number(72)
	h.created = int64(binary.LittleEndian.Uint64(b[80:]))
	h.lastUse = int64(binary.LittleEndian.Uint64(b[88:]))
	h.expires = int64(binary.LittleEndian.Uint64(b[96:]))
	return kvTypeNames.MatchString(h.kvType) && h.geometry.possible() && within(h.tokens, maxTokens) &&
		(h.expires == 0 || h.expires > h.lastUse)
}

func (h *head) decodeNames(b []byte) bool {
	for _, name := range []*string{&h.tenant, &h.id} {
		if len(b) < 2 {
			return false
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n > maxName || len(b) < 2+n {
			return false
		}
		*name, b = string(b[2:2+n]), b[2+n:]
	}
	return len(b) == 0
}

func namesSize(tenant, id string) int { return 2 + len(tenant) + 2 + len(id) }

func appendNames(b []byte, names ...string) []byte {
	for _, name := range names {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
	}
	return b
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// layout is where the parts of a file lie: head, tokens and their seal, zeros up to a multiple of
// 64, blocks, the seals of the blocks, and the SHA-256 of all but the blocks, whose seals stand for
// them. The zeros are for speed: copies from the page cache take twice as long if their source
// lies, within its page, a few bytes before the place of their destination.
type layout struct {
	head, tokens, body, seals, whole, size int64
	blocks                                 int
}

const (
	bodyAlign = 64
	wholeSize = sha256.Size
)

func (h *head) layout(sealSize int) layout {
	l := layout{head: int64(preludeSize + namesSize(h.tenant, h.id) + sealSize)}
	l.blocks = (h.tokens + h.geometry.BlockTokens - 1) / h.geometry.BlockTokens
	l.tokens = l.head
	l.body = (l.tokens + 4*int64(h.tokens) + int64(sealSize) + bodyAlign - 1) / bodyAlign * bodyAlign
	l.seals = l.body + int64(l.blocks)*int64(h.geometry.BlockBytes)
	l.whole = l.seals + int64(l.blocks)*int64(sealSize)
	l.size = l.whole + wholeSize
	return l
}
