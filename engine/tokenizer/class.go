package tokenizer

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is what the pre-tokenizers' patterns ask of a character. Every character has exactly one
// of letter, number, space and other; isolated comes on top.
type class uint8

const (
	letter   class = 1 << iota // \p{L}
	number                     // \p{N}
	space                      // \s
	other                      // none of these
	isolated                   // punctuation that the default pattern cuts out: [\p{P}$+<=>^~|]

	end class = 0 // after the text
)

// classes holds every character's class: one load a character, where the tables of package
// unicode take a search each.
var classes = sync.OnceValue(func() *[unicode.MaxRune + 1]class {
	var table [unicode.MaxRune + 1]class
	set := func(t *unicode.RangeTable, c class) {
		for _, r := range t.R16 {
			for x := uint32(r.Lo); x <= uint32(r.Hi); x += uint32(r.Stride) {
				table[x] |= c
			}
		}
		for _, r := range t.R32 {
			for x := r.Lo; x <= r.Hi; x += r.Stride {
				table[x] |= c
			}
		}
	}
	set(unicode.L, letter)
	set(newerLetters, letter)
	set(unicode.N, number)
	set(unicode.White_Space, space)
	set(unicode.P, isolated)
	for _, r := range "$+<=>^~|" {
		table[r] |= isolated
	}
	return &table
})

// newerLetters are those of Unicode 15.1, which models' own tokenizers know and package unicode does
// not yet.
var newerLetters = &unicode.RangeTable{R32: []unicode.Range32{{Lo: 0x2EBF0, Hi: 0x2EE5D, Stride: 1}}}

// splitter finds words in a text that is valid UTF-8.
type splitter struct {
	classes *[unicode.MaxRune + 1]class
	next    func(s *splitter, text string) int // the length of the first word
}

// at returns the class of the character at i and where the next one begins.
func (s *splitter) at(text string, i int) (class, int) {
	if i >= len(text) {
		return end, i
	}
	r, n := rune(text[i]), 1
	if r >= utf8.RuneSelf {
		r, n = utf8.DecodeRuneInString(text[i:])
	}
	c := s.classes[r]
	if c&(letter|number|space) == 0 {
		c |= other
	}
	return c, i + n
}

// run returns where the characters that have one of the classes want, and none of the classes
// stop, end.
func (s *splitter) run(text string, i int, want, stop class) int {
	for {
		c, after := s.at(text, i)
		if c&want == 0 || c&stop != 0 {
			return i
		}
		i = after
	}
}

// replaceInvalid returns text with U+FFFD in place of every byte that belongs to no character.
func replaceInvalid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 8)
	for _, r := range text {
		b.WriteRune(r)
	}
	return b.String()
}
