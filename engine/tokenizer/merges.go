package tokenizer

import (
	"math/bits"
	"runtime"
	"strings"
	"sync"
)

// mergeTable maps two neighbouring symbols to their merge: open addressing over flat arrays,
// since a lookup follows every byte of every word.
type mergeTable struct {
	slots []mergeSlot
	shift uint
}

type mergeSlot struct {
	left, right  int32
	rank, merged int32 // the rank counts from 1; 0 marks an empty slot
}

func newMergeTable(n int) mergeTable {
	log := uint(bits.Len(uint(2 * n)))
	return mergeTable{make([]mergeSlot, 1<<log), 64 - log}
}

func (t *mergeTable) slot(left, right int32) *mergeSlot {
	h := (uint64(uint32(left))<<32 | uint64(uint32(right))) * 0x9E3779B97F4A7C15
	for i := h >> t.shift; ; i = (i + 1) & uint64(len(t.slots)-1) {
		s := &t.slots[i]
		if s.rank == 0 || s.left == left && s.right == right {
			return s
		}
	}
}

// add keeps the first of equal merges.
func (t *mergeTable) add(left, right, rank, merged int32) {
	if s := t.slot(left, right); s.rank == 0 {
		*s = mergeSlot{left, right, rank + 1, merged}
	}
}

// find returns the rank of a merge and the symbol that it makes; the rank is noMerge without one.
func (t *mergeTable) find(left, right int32) (rank, merged int32) {
	s := t.slot(left, right)
	return s.rank - 1, s.merged
}

const noMerge = -1

// cutMerge returns the two texts of a merge, which one space parts.
func cutMerge(merge string) (left, right string, ok bool) {
	cut := strings.IndexByte(merge[min(1, len(merge)):], ' ') + 1
	if cut <= 0 {
		return "", "", false
	}
	return merge[:cut], merge[cut+1:], true
}

// resolved is a merge in tokens, with -1 for a text that is none.
type resolved struct{ left, right, merged int32 }

// resolve looks up the tokens of all merges. It is most of the time that loading a vocabulary
// takes, so every processor gets a share.
func resolve(merges []string, v *vocabulary) []resolved {
	out := make([]resolved, len(merges))
	share := len(merges)/runtime.GOMAXPROCS(0) + 1
	var wg sync.WaitGroup
	for from := 0; from < len(merges); from += share {
		to := min(from+share, len(merges))
		wg.Go(func() { resolveShare(merges[from:to], v, out[from:to]) })
	}
	wg.Wait()
	return out
}

func resolveShare(merges []string, v *vocabulary, out []resolved) {
	find := func(text string) int32 {
		if id, ok := v.ids[text]; ok {
			return id
		}
		return -1
	}
	last := int32(-1)
	var joined []byte
	for i, merge := range merges {
		left, right, ok := cutMerge(merge)
		if !ok {
			continue
		}
		// Tokens stand in the order of their merges, mostly.
		merged := last + 1
		if !v.joins(merged, left, right) {
			joined = append(append(joined[:0], left...), right...)
			merged = find(string(joined))
		}
		out[i] = resolved{find(left), find(right), merged}
		if merged >= 0 {
			last = merged
		}
	}
}

// joins says whether a token that text may become is written left, then right.
func (v *vocabulary) joins(id int32, left, right string) bool {
	if int(id) >= len(v.texts) || v.kinds[id] != kindNormal {
		return false
	}
	text := v.texts[id]
	return len(text) == len(left)+len(right) && text[:len(left)] == left && text[len(left):] == right
}
