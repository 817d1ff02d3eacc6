package tokenizer

import (
	"fmt"
	"math"
)

// bpe is byte-level byte-pair encoding: a word begins as its bytes, and the neighbours whose
// merge ranks first become one until no merge is left.
//
// A symbol is a token's id, or a number above them all for a byte or a merge's text that the
// vocabulary lacks.
type bpe struct {
	preTokenizer
	splitter splitter
	bytes    [256]int32
	merges   mergeTable
	ids      map[string]int32
	tokens   int32     // symbols from here on are no tokens
	missing  [][]int32 // what they become in the end
}

// shortWord is how many bytes a word may have to be merged by plain scanning, which is faster
// than a heap there.
const shortWord = 48

func newBPE(m metadata, v *vocabulary) (*bpe, error) {
	pre, err := findPreTokenizer(m)
	if err != nil {
		return nil, err
	}
	merges, ok := m.Strings(keyMerges)
	if !ok {
		return nil, fmt.Errorf("%s is missing", keyMerges)
	}
	b := &bpe{
		preTokenizer: pre, ids: v.ids, tokens: int32(len(v.texts)), merges: newMergeTable(len(merges)),
		splitter: splitter{classes: classes(), next: pre.next},
	}
	lacking := make(map[string]int32)
	for c := range b.bytes {
		b.bytes[c] = b.symbol(string(byteAlphabet[c]), lacking)
	}
	for rank, r := range resolve(merges, v) {
		left, right, ok := cutMerge(merges[rank])
		if !ok {
			continue
		}
		if r.left < 0 || r.right < 0 || r.merged < 0 {
			r = resolved{b.symbol(left, lacking), b.symbol(right, lacking), b.symbol(left+right, lacking)}
		}
		b.merges.add(r.left, r.right, int32(rank), r.merged)
	}
	return b, nil
}

// symbol returns the symbol of a text in the byte alphabet. One that is no token becomes, in the
// end, the tokens of those of its bytes that the alphabet writes as themselves.
func (b *bpe) symbol(text string, lacking map[string]int32) int32 {
	if id, ok := b.ids[text]; ok {
		return id
	}
	if id, ok := lacking[text]; ok {
		return id
	}
	var become []int32
	for i := range len(text) {
		if id, ok := b.ids[text[i:i+1]]; ok {
			become = append(become, id)
		}
	}
	id := b.tokens + int32(len(b.missing))
	b.missing = append(b.missing, become)
	lacking[text] = id
	return id
}

func (b *bpe) encode(dst []int32, text string, _ bool, s *scratch) []int32 {
	text = replaceInvalid(text)
	for text != "" {
		n := b.splitter.next(&b.splitter, text)
		dst = b.word(dst, text[:n], s)
		text = text[n:]
	}
	return dst
}

func (b *bpe) word(dst []int32, word string, s *scratch) []int32 {
	if b.ignoreMerges {
		s.word = appendAlphabet(s.word[:0], word)
		if id, ok := b.ids[string(s.word)]; ok {
			return append(dst, id)
		}
	}
	if len(word) > shortWord {
		return b.longWord(dst, word, s)
	}
	ids, ranks := s.ids[:0], s.ranks[:0]
	for i := range len(word) {
		ids = append(ids, b.bytes[word[i]])
	}
	for i := range len(ids) - 1 {
		rank, _ := b.merges.find(ids[i], ids[i+1])
		ranks = append(ranks, rank)
	}
	s.ids, s.ranks = ids, ranks
	for {
		best, at := int32(math.MaxInt32), -1
		for i, rank := range ranks {
			if rank != noMerge && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return b.finish(dst, ids)
		}
		_, ids[at] = b.merges.find(ids[at], ids[at+1])
		ids = append(ids[:at+1], ids[at+2:]...)
		ranks = append(ranks[:at], ranks[at+1:]...)
		if at > 0 {
			ranks[at-1], _ = b.merges.find(ids[at-1], ids[at])
		}
		if at < len(ranks) {
			ranks[at], _ = b.merges.find(ids[at], ids[at+1])
		}
	}
}

func (b *bpe) longWord(dst []int32, word string, s *scratch) []int32 {
	symbols := s.symbols[:0]
	for i := range int32(len(word)) {
		symbols = append(symbols, symbol{i, i + 1, i - 1, i + 1, b.bytes[word[i]]})
	}
	symbols[len(symbols)-1].next = -1
	s.symbols, s.queue = symbols, s.queue[:0]
	for i := range symbols[1:] {
		b.consider(symbols, int32(i), int32(i+1), &s.queue)
	}
	for len(s.queue) > 0 {
		m := s.queue.pop()
		if !m.current(symbols) {
			continue
		}
		m.apply(symbols)
		left := m.left()
		b.consider(symbols, symbols[left].prev, left, &s.queue)
		b.consider(symbols, left, symbols[left].next, &s.queue)
	}
	ids := s.ids[:0]
	for i := int32(0); i >= 0; i = symbols[i].next {
		ids = append(ids, symbols[i].token)
	}
	s.ids = ids
	return b.finish(dst, ids)
}

func (b *bpe) consider(symbols []symbol, left, right int32, q *queue) {
	if left < 0 || right < 0 {
		return
	}
	l, r := &symbols[left], &symbols[right]
	if rank, merged := b.merges.find(l.token, r.token); rank != noMerge {
		q.push(newMerge(uint32(rank), left, right, r.to-l.from, merged))
	}
}

// finish appends the tokens of the symbols that are left.
func (b *bpe) finish(dst, symbols []int32) []int32 {
	for _, id := range symbols {
		if id < b.tokens {
			dst = append(dst, id)
		} else {
			dst = append(dst, b.missing[id-b.tokens]...)
		}
	}
	return dst
}
