package limit

import (
	"sync"
	"time"
)

// Table holds the limits of all keys by name, so that what a key has used outlives
// a reading of the key file.
type Table struct {
	epoch      time.Time
	noDelay    bool
	mostIssued int

	mu     sync.Mutex
	fixed  map[string]*Key
	issued *lru[string, *Key] // nil before the first
}

// Options of a Table.
type Options struct {
	NoDelay bool // --limit-nodelay: a burst goes through at once and nobody waits in line

	// MostIssued bounds how many keys of Issued are remembered; 0 is 16,384.
	MostIssued int
}

// Named is a key's name and its limits.
type Named struct {
	Name   string
	Limits Limits
}

// NewTable returns an empty table. No decision may be asked for before now.
func NewTable(now time.Time, o Options) *Table {
	if o.MostIssued <= 0 {
		o.MostIssued = 16384
	}
	return &Table{epoch: now.Add(-time.Second), noDelay: o.NoDelay, mostIssued: o.MostIssued, fixed: map[string]*Key{}}
}

// Set makes keys the table's: new ones are added, those that are no longer there
// are forgotten, and the others keep what they have used, also under new limits,
// which must be valid. It returns each key's Key in the order of keys.
func (t *Table) Set(now time.Time, keys []Named) []*Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, out := make(map[string]*Key, len(keys)), make([]*Key, len(keys))
	for i, n := range keys {
		k := t.fixed[n.Name]
		if k == nil {
			k = newKey(t, now, n.Limits)
		} else {
			k.set(now, n.Limits)
		}
		next[n.Name], out[i] = k, k
	}
	t.fixed = next
	return out
}

// Issued returns the Key of a login that no list names, such as that of a signed
// token. Those used last are remembered, up to a bound; one that was forgotten
// starts afresh.
func (t *Table) Issued(now time.Time, name string, l Limits) *Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.issued == nil {
		t.issued = newLRU[string, *Key](t.mostIssued)
	}
	k, fresh := t.issued.get(name)
	if fresh {
		*k = newKey(t, now, l)
	} else {
		(*k).set(now, l)
	}
	return *k
}
