package keys

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
	"time"
)

// longestKey bounds what is hashed for a stranger; keys from the environment may
// have any form.
const longestKey = 512

// Set is the keys that are in force. It never changes: another reading of the file
// makes another Set.
type Set struct {
	identities []Identity // in the order of the file
	slots      []slot     // one a digest
	index      map[uint64]int32
}

// slot is one digest of an identity, which has several while its key is being
// replaced.
type slot struct {
	digest           Digest
	identity         *Identity
	expires, revoked int64 // Unix seconds
	next             int32 // the slot with the same index; noSlot ends
}

const (
	noSlot = int32(-1)
	never  = int64(math.MaxInt64)
)

// newSet makes a Set of entries that have been checked; identities are theirs, in
// the same order.
func newSet(entries []Entry, identities []Identity) *Set {
	s := &Set{identities: identities, index: make(map[uint64]int32, len(entries))}
	for i, e := range entries {
		expires, revoked := instant(e.Expires), instant(e.Revoked)
		s.add(slot{digest: e.Digest, identity: &identities[i], expires: expires, revoked: revoked})
		for _, p := range e.Previous {
			s.add(slot{digest: p.Digest, identity: &identities[i], expires: expires, revoked: min(revoked, instant(p.Revoked))})
		}
	}
	return s
}

func instant(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.Unix()
}

func (s *Set) add(k slot) {
	at := k.digest.index()
	k.next = noSlot
	if first, taken := s.index[at]; taken {
		k.next = first
	}
	s.index[at] = int32(len(s.slots))
	s.slots = append(s.slots, k)
}

// index is where to look for a digest. It is the digest's start, so that the time
// to find nothing tells at most how a digest starts, which leads to no key.
func (d *Digest) index() uint64 { return binary.LittleEndian.Uint64(d[:8]) }

// lookup finds who presents a key. It allocates nothing, and compares digests in
// constant time.
func (s *Set) lookup(presented []byte, now time.Time) (*Identity, Reason) {
	if len(presented) > longestKey {
		return nil, Malformed
	}
	digest := digestOf(presented)
	at, found := s.index[digest.index()]
	for found && at != noSlot {
		k := &s.slots[at]
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			return k.at(now.Unix())
		}
		at = k.next
	}
	if !wellFormed(presented) {
		return nil, Malformed
	}
	return nil, Unknown
}

func (k *slot) at(now int64) (*Identity, Reason) {
	if now >= k.revoked {
		return nil, Revoked
	}
	if now >= k.expires {
		return nil, Expired
	}
	return k.identity, Known
}
