package constrain

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
)

// maxMasks is how many masks of one grammar are kept.
const maxMasks = 256

// masks are those of the places where answers stood before.
type masks struct {
	mu    sync.Mutex
	known map[string][]uint64
}

// Matcher follows one answer. It is not for several goroutines at once.
type Matcher struct {
	grammar *Grammar
	words   *Vocabulary
	now     []config
	key     []byte
}

// NewMatcher returns the matcher of an answer that has not begun.
func NewMatcher(g *Grammar, words *Vocabulary) *Matcher {
	return &Matcher{grammar: g, words: words, now: []config{{node: g.root}}}
}

// Accept goes on by a token's bytes. It returns false, and stays where it is, when
// they may not follow.
func (m *Matcher) Accept(piece []byte) bool {
	now := m.now
	for _, b := range piece {
		var next []config
		for _, c := range now {
			next = m.grammar.step(c, b, next)
		}
		if now = m.grammar.distinct(next); len(now) == 0 {
			return false
		}
	}
	m.now = now
	return true
}

// Complete says whether the answer may end here.
func (m *Matcher) Complete() bool {
	for i := range m.now {
		if m.grammar.ended(&m.now[i]) {
			return true
		}
	}
	return false
}

// Done says whether the answer must end here: nothing may follow.
func (m *Matcher) Done() bool { return len(m.now) == 1 && m.now[0].node == done }

// Constrain makes the tokens impossible that may not follow, and returns how many
// are left.
func (m *Matcher) Constrain(logits []float32) int {
	mask := m.mask()
	left, never := 0, float32(math.Inf(-1))
	for i, allowed := range mask {
		if allowed == 0 {
			part := logits[i*64 : min(len(logits), i*64+64)]
			for j := range part {
				part[j] = never
			}
			continue
		}
		left += bits.OnesCount64(allowed)
		for j := i * 64; j < min(len(logits), i*64+64); j++ {
			if allowed&1 == 0 {
				logits[j] = never
			}
			allowed >>= 1
		}
	}
	for j := len(mask) * 64; j < len(logits); j++ {
		logits[j] = never
	}
	return left
}

// mask returns that of the place, from before or new.
func (m *Matcher) mask() []uint64 {
	m.key = m.key[:0]
	for i := range m.now {
		m.key = m.grammar.appendKey(m.key, &m.now[i])
	}
	known := &m.grammar.masks
	known.mu.Lock()
	defer known.mu.Unlock()
	if mask, ok := known.known[string(m.key)]; ok {
		return mask
	}
	mask := m.words.mask(m.grammar, m.now)
	if known.known == nil || len(known.known) >= maxMasks {
		known.known = map[string][]uint64{}
	}
	known.known[string(m.key)] = mask
	return mask
}

// appendKey appends what tells a place apart from those after which other tokens may
// follow. Counts matter only as far as one token reaches.
func (g *Grammar) appendKey(key []byte, c *config) []byte {
	for ; c != nil; c = c.up {
		i, j, n := c.i, c.j, c.n
		if c.node != done {
			switch node := &g.nodes[c.node]; node.kind {
			case text:
				i, j = int32(min(maxPiece, max(0, node.minLength-int(c.i)))), -1
				if node.maxLength >= 0 {
					j = int32(min(maxPiece, node.maxLength-int(c.i)))
				}
			case number:
				if !node.number.bounded {
					n = 0
				}
			}
		}
		minus := uint8(0)
		if c.minus {
			minus = 1
		}
		key = binary.AppendVarint(key, int64(c.node))
		key = append(key, c.phase, c.tail, minus, c.depth)
		key = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(key, int64(i)), int64(j)), n)
	}
	return append(key, 0xFF, 0xFF)
}
