package tokenizer

// symbol is a part of a word that may still be merged with its neighbours. Symbols form a list;
// a symbol that was merged into its left neighbour has token dead.
type symbol struct {
	from, to   int32 // bytes of the word
	prev, next int32 // -1 at the ends
	token      int32
}

const dead = -2

// merge is two neighbours that may become one.
type merge struct {
	key    uint64 // the order of merges: rank, then the left one's place
	right  int32
	size   int32 // bytes of both together, by which an outdated merge is known
	merged int32
}

func (m merge) left() int32 { return int32(uint32(m.key)) }

func newMerge(rank uint32, left, right, size, merged int32) merge {
	return merge{uint64(rank)<<32 | uint64(uint32(left)), right, size, merged}
}

// current says whether both symbols are still what they were when the merge was found.
func (m merge) current(symbols []symbol) bool {
	l, r := &symbols[m.left()], &symbols[m.right]
	return l.token != dead && r.token != dead && r.to-l.from == m.size
}

// apply merges the right symbol into the left one.
func (m merge) apply(symbols []symbol) {
	l, r := &symbols[m.left()], &symbols[m.right]
	l.to, l.token, l.next = r.to, m.merged, r.next
	r.token = dead
	if l.next >= 0 {
		symbols[l.next].prev = m.left()
	}
}

// queue is a binary heap of merges, the first one on top. A heap keeps a long run of one letter
// at n log n, where scanning for the best merge each time would take n².
type queue []merge

func (q *queue) push(m merge) {
	h := append(*q, m)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].key <= m.key {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = m
	*q = h
}

func (q *queue) pop() merge {
	h := *q
	top, m := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; len(h) > 0; {
		down := 2*i + 1
		if down+1 < len(h) && h[down+1].key < h[down].key {
			down++
		}
		if down >= len(h) || m.key <= h[down].key {
			h[i] = m
			break
		}
		h[i] = h[down]
		i = down
	}
	*q = h
	return top
}
