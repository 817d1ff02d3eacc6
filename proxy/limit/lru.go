package limit

import "hash/maphash"

// lru is a hash table of a fixed size that forgets what was not asked for longest.
// All its memory is taken at the start, so that nobody makes it grow by sending
// ever new keys.
type lru[K comparable, V any] struct {
	seed           maphash.Seed
	heads          []int32 // by hash: the first entry of the chain; none is -1
	entries        []lruEntry[K, V]
	used           int
	newest, oldest int32
}

type lruEntry[K comparable, V any] struct {
	key          K
	value        V
	chain        int32 // the next entry of the same hash
	newer, older int32
}

const none = int32(-1)

func newLRU[K comparable, V any](size int) *lru[K, V] {
	l := &lru[K, V]{seed: maphash.MakeSeed(), heads: make([]int32, 2*size), entries: make([]lruEntry[K, V], size), newest: none, oldest: none}
	for i := range l.heads {
		l.heads[i] = none
	}
	return l
}

// get returns the key's value, a zero one if it is new. It is good until the next
// call.
func (l *lru[K, V]) get(key K) (value *V, fresh bool) {
	head := &l.heads[maphash.Comparable(l.seed, key)%uint64(len(l.heads))]
	for i := *head; i != none; i = l.entries[i].chain {
		if l.entries[i].key == key {
			l.unlink(i)
			l.linkNewest(i)
			return &l.entries[i].value, false
		}
	}
	i := l.room()
	l.entries[i] = lruEntry[K, V]{key: key, chain: *head}
	*head = i
	l.linkNewest(i)
	return &l.entries[i].value, true
}

// room returns a free entry, if need be that of the oldest key.
func (l *lru[K, V]) room() int32 {
	if l.used < len(l.entries) {
		l.used++
		return int32(l.used - 1)
	}
	i := l.oldest
	l.unlink(i)
	at := &l.heads[maphash.Comparable(l.seed, l.entries[i].key)%uint64(len(l.heads))]
	for *at != i {
		at = &l.entries[*at].chain
	}
	*at = l.entries[i].chain
	return i
}

func (l *lru[K, V]) linkNewest(i int32) {
	e := &l.entries[i]
	e.newer, e.older = none, l.newest
	if l.newest != none {
		l.entries[l.newest].newer = i
	} else {
		l.oldest = i
	}
	l.newest = i
}

func (l *lru[K, V]) unlink(i int32) {
	e := &l.entries[i]
	if e.newer != none {
		l.entries[e.newer].older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != none {
		l.entries[e.older].newer = e.newer
	} else {
		l.oldest = e.newer
	}
}
