package logchain

import (
	"slices"
	"time"
)

// index is what the entries add up to.
type index struct {
	begun     time.Time // of the first entry
	files     map[string]*Entry
	shipped   map[string]bool   // of those in files
	gone      []string          // the last ones with a tombstone, oldest first
	stamps    map[string]string // highest stamp of each log, of removed files too
	errorsEnd map[string]int64  // by file of error lines: what its sources' entries vouch for
}

// maxGone is how many tombstones are remembered, for removals that a crash undid.
// They are repeated before another one is written, so that few are open at a time.
const maxGone = 64

func newIndex() index {
	return index{files: map[string]*Entry{}, shipped: map[string]bool{}, stamps: map[string]string{}, errorsEnd: map[string]int64{}}
}

func (x *index) add(e *Entry) {
	switch e.Kind {
	case Begin:
		x.begun = e.Time
	case Archived:
		x.files[e.Name] = e
		if e.ErrorsTo != "" {
			x.errorsEnd[e.ErrorsTo] = e.ErrorsEnd
		}
	case Tombstone:
		delete(x.files, e.Name)
		delete(x.shipped, e.Name)
		delete(x.errorsEnd, plainName(e.Name))
		x.gone = append(x.gone, e.Name)
		x.gone = slices.Delete(x.gone, 0, max(0, len(x.gone)-maxGone))
	case Shipped:
		if x.files[e.Name] != nil {
			x.shipped[e.Name] = true
		}
	}
	if n, ok := ParseName(e.Name); ok {
		x.stamps[n.Log] = max(x.stamps[n.Log], n.Stamp)
	}
	if n, ok := ParseName(e.errorsTo()); ok {
		x.stamps[n.Log] = max(x.stamps[n.Log], n.Stamp)
	}
}

func (e *Entry) errorsTo() string {
	if e.File == nil {
		return ""
	}
	return e.ErrorsTo
}

// plainName is the name of the file before it was compressed.
func plainName(name string) string {
	n, ok := ParseName(name)
	if !ok {
		return name
	}
	n.Suffix = ""
	return n.String()
}
