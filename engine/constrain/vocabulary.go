package constrain

import (
	"bytes"
	"slices"
)

// maxPiece is the longest token that a constrained answer may have, in bytes.
const maxPiece = 128

// Vocabulary is the tokens of a model by their bytes, as a trie in the order in
// which a walk visits it.
type Vocabulary struct {
	size   int
	places []visit
	tokens []int32 // by the place where they end
	ends   []int32 // the tokens that end an answer
}

// visit is one byte on the way to some tokens.
type visit struct {
	by    byte
	depth uint8 // 1 for a token's first byte
	past  int32 // the next place that is not after this one
	from  int32 // tokens[from:to] end here
	to    int32
}

// NewVocabulary returns the vocabulary of tokens 0 to size-1. Tokens without bytes
// are never let through, but for those that end an answer.
func NewVocabulary(size int, piece func(int32) []byte, isEnd func(int32) bool) *Vocabulary {
	v := &Vocabulary{size: size}
	ids := make([]int32, 0, size)
	for id := range int32(size) {
		if isEnd(id) {
			v.ends = append(v.ends, id)
		} else if n := len(piece(id)); n > 0 && n <= maxPiece {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int32) int { return bytes.Compare(piece(a), piece(b)) })
	var path []int32 // the places of the bytes of the last token
	var last []byte
	for _, id := range ids {
		p := piece(id)
		shared := 0
		for shared < len(last) && shared < len(p) && last[shared] == p[shared] {
			shared++
		}
		path = v.leave(path, shared)
		for i := shared; i < len(p); i++ {
			path = append(path, int32(len(v.places)))
			v.places = append(v.places, visit{by: p[i], depth: uint8(i + 1), from: int32(len(v.tokens)), to: int32(len(v.tokens))})
		}
		v.tokens = append(v.tokens, id)
		v.places[path[len(path)-1]].to = int32(len(v.tokens))
		last = p
	}
	v.leave(path, 0)
	return v
}

// leave ends the places of a path from a depth on.
func (v *Vocabulary) leave(path []int32, depth int) []int32 {
	for _, at := range path[depth:] {
		v.places[at].past = int32(len(v.places))
	}
	return path[:depth]
}

// mask returns a bit for each token that may follow.
func (v *Vocabulary) mask(g *Grammar, now []config) []uint64 {
	out := make([]uint64, (v.size+63)/64)
	var levels [maxPiece + 1][]config
	levels[0] = now
	for at := 0; at < len(v.places); {
		p := &v.places[at]
		next := levels[p.depth][:0]
		for _, c := range levels[p.depth-1] {
			next = g.step(c, p.by, next)
		}
		next = g.distinct(next)
		levels[p.depth] = next
		if len(next) == 0 {
			at = int(p.past)
			continue
		}
		for _, id := range v.tokens[p.from:p.to] {
			out[id>>6] |= 1 << (id & 63)
		}
		at++
	}
	if slices.ContainsFunc(now, func(c config) bool { return g.ended(&c) }) {
		for _, id := range v.ends {
			out[id>>6] |= 1 << (id & 63)
		}
	}
	return out
}
