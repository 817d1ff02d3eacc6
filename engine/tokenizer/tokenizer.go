// Package tokenizer turns text into a model's tokens and back, from nothing but the metadata of
// the model's GGUF file. Token ids are those of llama.cpp on the same file.
//
// Two kinds of vocabulary are known: byte-level BPE ("gpt2") with the pre-tokenizer that the file
// names, and the SentencePiece kind ("llama"). Bytes of text that are not UTF-8 count as U+FFFD
// in the first and as themselves in the second.
//
// Read: tokenizer.go (a text becomes fragments, fragments become tokens), vocabulary.go (what the
// file says), special.go (special tokens in text), pretokenizer.go, split.go and class.go (text
// becomes words), bpe.go and merges.go (words become tokens), spm.go (the other kind), heap.go
// (what both take their merges from), piece.go (tokens become bytes).
package tokenizer

import (
	"fmt"
	"strings"
	"sync"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// Tokenizer knows one model's vocabulary. It may be used from many goroutines at once.
type Tokenizer struct {
	vocabulary
	special specials
	encoder encoder
	pieces  pieces
	scratch sync.Pool
}

// encoder turns text without special tokens into tokens. first says that the text begins the
// prompt or follows a special token.
type encoder interface {
	encode(dst []int32, text string, first bool, s *scratch) []int32
}

// Segment is a part of a text. Only the trusted parts may hold special tokens; the others are
// text whatever they look like.
type Segment struct {
	Text    string
	Trusted bool
}

// New reads the vocabulary of a model file. The file may be closed afterwards.
func New(f *gguf.File) (*Tokenizer, error) { return build(f) }

func build(m metadata) (*Tokenizer, error) {
	model, _ := m.String(keyModel)
	v, err := readVocabulary(m, model)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokenizer: %w", err)
	}
	t := &Tokenizer{vocabulary: v}
	switch model {
	case modelBPE:
		t.encoder, err = newBPE(m, &t.vocabulary)
	case modelSPM:
		t.encoder, err = newSPM(m, &t.vocabulary)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokenizer: %w", err)
	}
	t.special = newSpecials(&t.vocabulary)
	t.pieces = newPieces(&t.vocabulary, model)
	t.scratch.New = func() any { return new(scratch) }
	return t, nil
}

// Encode returns the tokens of text, without a BOS. With special, what is written like a special
// token becomes one; without, it stays text.
func (t *Tokenizer) Encode(text string, special bool) []int32 {
	var trusted []span
	if special {
		trusted = []span{{0, len(text)}}
	}
	return t.encode(text, trusted)
}

// EncodeSegments returns the tokens of the segments' joined text, without a BOS. A special token
// lies wholly in trusted text or it is none; ordinary tokens may reach over the border of two
// segments, just as if the text had been one.
func (t *Tokenizer) EncodeSegments(segments []Segment) []int32 {
	var text strings.Builder
	var trusted []span
	for _, s := range segments {
		from := text.Len()
		text.WriteString(s.Text)
		if !s.Trusted || s.Text == "" {
			continue
		}
		if n := len(trusted); n > 0 && trusted[n-1].to == from {
			trusted[n-1].to = text.Len()
		} else {
			trusted = append(trusted, span{from, text.Len()})
		}
	}
	return t.encode(text.String(), trusted)
}

func (t *Tokenizer) encode(text string, trusted []span) []int32 {
	if text == "" {
		return nil
	}
	s := t.scratch.Get().(*scratch)
	defer t.keep(s)
	out := make([]int32, 0, len(text)/3+8)
	first := true
	for _, f := range t.special.partition(text, trusted) {
		if f.token >= 0 {
			out = append(out, f.token)
			first = true
			continue
		}
		out = t.encoder.encode(out, text[f.from:f.to], first, s)
		first = false
	}
	return out
}

// scratch is the working memory of one Encode.
type scratch struct {
	ids     []int32
	ranks   []int32
	word    []byte
	symbols []symbol
	queue   queue
}

const keptSymbols = 1 << 14 // a longer word's memory is not kept

func (t *Tokenizer) keep(s *scratch) {
	if cap(s.symbols) <= keptSymbols && cap(s.queue) <= 2*keptSymbols {
		t.scratch.Put(s)
	}
}

// Vocab returns the number of tokens.
func (t *Tokenizer) Vocab() int { return len(t.texts) }

// BOS returns the token that begins a text, or -1 when the file names none.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the token that ends a text, or -1 when the file names none.
func (t *Tokenizer) EOS() int32 { return t.eos }

// AddBOS says whether a prompt begins with BOS unless its template already wrote one.
func (t *Tokenizer) AddBOS() bool { return t.addBOS && t.bos >= 0 }

// IsEnd says whether the model ends its turn with this token.
func (t *Tokenizer) IsEnd(id int32) bool { return t.ends[id] }

// IsControl says whether a token is a marker that text never contains.
func (t *Tokenizer) IsControl(id int32) bool {
	return id >= 0 && int(id) < len(t.kinds) && t.kinds[id].control()
}

// Special returns the control token that is written so.
func (t *Tokenizer) Special(text string) (int32, bool) {
	id, ok := t.special.byText[text]
	return id, ok && t.kinds[id].control()
}
