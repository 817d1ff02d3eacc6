package keys

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"
)

// longestKey bounds what is hashed for a stranger; keys from the environment may
// have any form.
const longestKey = 512

// Set is the keys that are in force. It never changes: another reading of the file
// makes another Set.
type Set struct {
	generation uint64     // no two have the same
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
	s := &Set{generation: generations.Add(1), identities: identities, index: make(map[uint64]int32, len(entries))}
	for i, e := range entries {
		expires, revoked := instant(e.Expires), instant(e.Revoked)
		s.add(slot{digest: e.Digest, identity: &identities[i], expires: expires, revoked: revoked})
		for _, p := range e.Previous {
			s.add(slot{digest: p.Digest, identity: &identities[i], expires: expires, revoked: min(revoked, instant(p.Revoked))})
		}
	}
	return s
}

// generations counts the sets that were made.
var generations atomic.Uint64

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

// lookup finds who presents a key. It allocates nothing.
func (s *Set) lookup(presented []byte, now time.Time) (*Identity, Reason) {
	at, why := s.find(presented)
	if at == noSlot {
		return nil, why
	}
	return s.slots[at].at(now.Unix())
}

// find compares digests in constant time. Without a slot it says why.
func (s *Set) find(presented []byte) (int32, Reason) {
	if len(presented) > longestKey {
		return noSlot, Malformed
	}
	digest := digestOf(presented)
	at, found := s.index[digest.index()]
	for found && at != noSlot {
		k := &s.slots[at]
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			return at, Known
		}
		at = k.next
	}
	if !wellFormed(presented) {
		return noSlot, Malformed
	}
	return noSlot, Unknown
}

// Memory is the key that a connection presented last, and where it stands: a client
// presents the same one each time, which then needs no digest. It is the connection's
// own, so that what it tells of a key, by time or otherwise, its client knew before.
type Memory struct {
	generation uint64 // of the set; 0 of none
	key        []byte
	at         int32
}

// again is lookup, by way of the connection's memory.
func (s *Set) again(m *Memory, presented []byte, now time.Time) (*Identity, Reason) {
	if m.generation != s.generation || subtle.ConstantTimeCompare(m.key, presented) != 1 {
		at, why := s.find(presented)
		if at == noSlot {
			return nil, why
		}
		m.generation, m.at, m.key = s.generation, at, append(m.key[:0], presented...)
	}
	return s.slots[m.at].at(now.Unix())
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
