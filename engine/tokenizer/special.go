package tokenizer

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// span is a range of bytes of a text.
type span struct{ from, to int }

// fragment is a special token, or text between two of them when token is -1.
type fragment struct {
	span
	token int32
}

// specials finds the tokens that are cut out of a text before it is split into words: control
// tokens where the text is trusted, user-defined ones everywhere.
type specials struct {
	texts       []string
	kinds       []kind
	byText      map[string]int32
	lengths     [256][]int // by first byte: the lengths of the tokens that begin with it
	userDefined bool
}

func newSpecials(v *vocabulary) specials {
	s := specials{texts: v.texts, kinds: v.kinds, byText: make(map[string]int32)}
	for i, k := range v.kinds {
		text := v.texts[i]
		if text == "" || !k.control() && k != kindUserDefined {
			continue
		}
		s.byText[text] = int32(i)
		s.userDefined = s.userDefined || k == kindUserDefined
		if l := &s.lengths[text[0]]; !slices.Contains(*l, len(text)) {
			*l = append(*l, len(text))
		}
	}
	return s
}

// partition cuts the special tokens out of text. As in llama.cpp the longest token goes first
// and takes all its places, so that of two that overlap the longer wins, not the earlier.
func (s *specials) partition(text string, trusted []span) []fragment {
	fragments := []fragment{{span{0, len(text)}, -1}}
	for _, id := range s.present(text, trusted) {
		fragments = s.cut(fragments, text, id, trusted)
	}
	return fragments
}

// Marker is a control token's place in a text.
type Marker struct {
	From, To int
	Token    int32
}

// Markers returns where text holds what is written like a control token.
func (t *Tokenizer) Markers(text string) []Marker {
	var out []Marker
	for _, f := range t.special.partition(text, []span{{0, len(text)}}) {
		if t.IsControl(f.token) {
			out = append(out, Marker{f.from, f.to, f.token})
		}
	}
	return out
}

// present returns the special tokens that occur in text, longest first. Most texts hold none,
// and a vocabulary may have thousands.
func (s *specials) present(text string, trusted []span) []int32 {
	if len(trusted) == 0 && !s.userDefined {
		return nil
	}
	var found []int32
	for i := range len(text) {
		for _, n := range s.lengths[text[i]] {
			if n > len(text)-i {
				continue
			}
			id, ok := s.byText[text[i:i+n]]
			if ok && s.allowed(id, span{i, i + n}, trusted) && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
	}
	slices.SortFunc(found, func(a, b int32) int {
		return cmp.Or(cmp.Compare(len(s.texts[b]), len(s.texts[a])), cmp.Compare(a, b))
	})
	return found
}

// allowed says whether a token may be cut out at a place.
func (s *specials) allowed(id int32, at span, trusted []span) bool {
	if s.kinds[id] == kindUserDefined {
		return true
	}
	i := sort.Search(len(trusted), func(i int) bool { return trusted[i].to >= at.to })
	return i < len(trusted) && trusted[i].from <= at.from
}

// cut takes all places of one token out of the fragments that are still text.
func (s *specials) cut(fragments []fragment, text string, id int32, trusted []span) []fragment {
	token := s.texts[id]
	var out []fragment
	for _, f := range fragments {
		if f.token >= 0 {
			out = append(out, f)
			continue
		}
		search := f.from
		for {
			i := strings.Index(text[search:f.to], token)
			if i < 0 {
				break
			}
			at := span{search + i, search + i + len(token)}
			if !s.allowed(id, at, trusted) {
				search = at.from + 1
				continue
			}
			if at.from > f.from {
				out = append(out, fragment{span{f.from, at.from}, -1})
			}
			out = append(out, fragment{at, id})
			f.from, search = at.to, at.to
		}
		if f.from < f.to {
			out = append(out, f)
		}
	}
	return out
}
