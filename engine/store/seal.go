package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// sealer closes and opens the parts of one file. With a key a part is encrypted with AES-256-GCM
// and its seal is the tag; without one it stays as it is and its seal is an XXH64.
//
// The seal of a part covers its place in the file and, but for the head's own, the whole head:
// no part can be taken for another's, nor be moved to another file.
type sealer struct {
	aead   cipher.AEAD // nil without a key
	digest xxhash.Digest
	bound  [sha256.Size]byte // of the head
	seed   uint64            // taken from it
	tag    [tagSize]byte
}

const (
	sumSize = 8  // of a seal without a key
	tagSize = 16 // of a seal with one
)

// The parts of a file, as they stand in a nonce: 4 bytes for the part, 8 for its place. A file's
// key is its own, so no nonce is used twice.
const (
	partHead = iota
	partTokens
	partBlocks
)

func newSealer(ring *keyring, salt [32]byte) (*sealer, error) {
	s := &sealer{}
	if !ring.encrypted {
		return s, nil
	}
	key, err := ring.fileKey(salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

func (s *sealer) size() int {
	if s.aead == nil {
		return sumSize
	}
	return tagSize
}

// sealHead appends the names to the prelude, encrypted if there is a key, and the seal of both.
func (s *sealer) sealHead(prelude, names []byte) []byte {
	if s.aead != nil {
		return s.aead.Seal(prelude, nonce(partHead, 0), names, prelude)
	}
	b := append(prelude, names...)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// openHead returns the names of a whole head, and whether its seal is right.
func (s *sealer) openHead(b []byte) ([]byte, bool) {
	if s.aead != nil {
		names, err := s.aead.Open(nil, nonce(partHead, 0), b[preludeSize:], b[:preludeSize])
		return names, err == nil
	}
	end := len(b) - sumSize
	return b[preludeSize:end], binary.LittleEndian.Uint64(b[end:]) == xxhash.Sum64(b[:end])
}

// bind ties all parts that follow to the head.
func (s *sealer) bind(head []byte) {
	s.bound = sha256.Sum256(head)
	s.seed = binary.LittleEndian.Uint64(s.bound[:])
}

// seal returns what stands on disk for a part, and its seal. The first is plain itself without a
// key and lies in scratch with one; scratch must have room for plain and a tag. The seal is valid
// until the next call.
func (s *sealer) seal(part uint32, place int, plain, scratch []byte) (stored, seal []byte) {
	if s.aead == nil {
		return plain, s.sum(part, place, plain)
	}
	out := s.aead.Seal(scratch[:0], nonce(part, place), plain, s.bound[:])
	return out[:len(plain)], out[len(plain):]
}

// openSealed decrypts a part into dst from scratch, which holds what stands on disk for it and
// has room for the tag. It says whether the seal is right; if not, dst holds nothing of use.
func (s *sealer) openSealed(part uint32, place int, dst, scratch, seal []byte) bool {
	sealed := append(scratch, seal...)
	_, err := s.aead.Open(dst[:0], nonce(part, place), sealed, s.bound[:])
	return err == nil
}

// matches says whether the seal of a part that is not encrypted is right.
func (s *sealer) matches(part uint32, place int, plain, seal []byte) bool {
	return subtle.ConstantTimeCompare(s.sum(part, place, plain), seal) == 1
}

// sum returns the XXH64 of a part, seeded with its place in the file and with the head.
func (s *sealer) sum(part uint32, place int, plain []byte) []byte {
	s.digest.ResetWithSeed(s.seed + uint64(part)<<56 + uint64(place))
	_, _ = s.digest.Write(plain) // never fails
	binary.LittleEndian.PutUint64(s.tag[:], s.digest.Sum64())
	return s.tag[:sumSize]
}

func nonce(part uint32, place int) []byte {
	n := make([]byte, 12)
	binary.LittleEndian.PutUint32(n, part)
	binary.LittleEndian.PutUint64(n[4:], uint64(place))
	return n
}
