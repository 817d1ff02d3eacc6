package tokenizer

import (
	"fmt"
	"math"
	"strings"
)

// spm is the SentencePiece kind: the whole text, with U+2581 for its spaces, begins as its
// characters, and the neighbours whose joined text is the token of the highest score become one.
// A character that is no token becomes its bytes, written <0xNN>.
type spm struct {
	ids      map[string]int32
	order    []uint32 // by token: the higher the score, the lower
	longest  int      // bytes of the longest token
	bytes    [256]int32
	addSpace bool // a text begins with a space that is not there
}

const spmSpace = "\u2581"

func newSPM(m metadata, v *vocabulary) (*spm, error) {
	scores, ok := m.Floats(keyScores)
	if !ok || len(scores) < len(v.texts) {
		return nil, fmt.Errorf("%s has %d entries for %d tokens", keyScores, len(scores), len(v.texts))
	}
	s := &spm{ids: v.ids, order: make([]uint32, len(v.texts)), addSpace: true}
	if add, ok := m.Bool(keyAddSpace); ok {
		s.addSpace = add
	}
	unknown := v.token(m, "unknown_token_id")
	for i := range s.bytes {
		s.bytes[i] = unknown
		if id, ok := v.ids[string([]byte{byte(i)})]; ok {
			s.bytes[i] = id
		}
	}
	for i, text := range v.texts {
		s.order[i] = descending(float32(scores[i]))
		s.longest = max(s.longest, len(text))
		if b, ok := byteToken(text); ok && v.kinds[i] == kindByte {
			s.bytes[b] = int32(i)
		}
	}
	return s, nil
}

// descending maps a float to an integer that falls as the float rises.
func descending(f float32) uint32 {
	b := math.Float32bits(f)
	if b>>31 == 0 {
		return ^(b | 1<<31)
	}
	return b
}

func (s *spm) encode(dst []int32, text string, first bool, w *scratch) []int32 {
	if s.addSpace && first {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", spmSpace)
	symbols := w.symbols[:0]
	for i := 0; i < len(text); {
		n := min(characterLength(text[i]), len(text)-i)
		at := int32(len(symbols))
		symbols = append(symbols, symbol{int32(i), int32(i + n), at - 1, at + 1, 0})
		i += n
	}
	symbols[len(symbols)-1].next = -1
	w.symbols, w.queue = symbols, w.queue[:0]
	for i := range symbols[1:] {
		s.consider(text, symbols, int32(i), int32(i+1), &w.queue)
	}
	for len(w.queue) > 0 {
		m := w.queue.pop()
		if !m.current(symbols) {
			continue
		}
		m.apply(symbols)
		left := m.left()
		s.consider(text, symbols, symbols[left].prev, left, &w.queue)
		s.consider(text, symbols, left, symbols[left].next, &w.queue)
	}
	for i := int32(0); i >= 0; i = symbols[i].next {
		dst = s.finish(dst, text[symbols[i].from:symbols[i].to])
	}
	return dst
}

func (s *spm) consider(text string, symbols []symbol, left, right int32, q *queue) {
	if left < 0 || right < 0 {
		return
	}
	from, to := symbols[left].from, symbols[right].to
	if int(to-from) > s.longest {
		return
	}
	if id, ok := s.ids[text[from:to]]; ok {
		q.push(newMerge(s.order[id], left, right, to-from, id))
	}
}

func (s *spm) finish(dst []int32, text string) []int32 {
	if id, ok := s.ids[text]; ok {
		return append(dst, id)
	}
	for i := range len(text) {
		if id := s.bytes[text[i]]; id >= 0 {
			dst = append(dst, id)
		}
	}
	return dst
}

// characterLength returns how many bytes a character has that begins with b. A byte that begins
// none counts as one.
func characterLength(b byte) int {
	switch {
	case b < 0xC0:
		return 1
	case b < 0xE0:
		return 2
	case b < 0xF0:
		return 3
	}
	return 4
}
