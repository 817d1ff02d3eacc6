package engine

import (
	"github.com/semantic-pod/semantic/engine/constrain"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/sample"
)

// picker is what a request wants beyond a plain pick: other odds than the model's,
// or to be told the model's own. It belongs to one sequence.
type picker struct {
	presence, frequency float32
	bias                map[int32]float32
	format              *constrain.Matcher // nil for any text
	counts              map[int32]int32    // of each token that was generated

	tell   bool // the tokens' log-probabilities
	top    int  // and those of so many of the likeliest
	words  spelling
	raw    []float32 // the model's own logits, when they are told and changed
	ranked []sample.Logprob
	picked dialect.Token // of the last pick, if it is told
}

// spelling writes tokens, special ones too.
type spelling interface{ SpecialPiece(token int32) []byte }

// newPicker returns nil for a request that wants nothing of it.
func newPicker(r *dialect.Request, format *constrain.Matcher, words spelling) *picker {
	p := &picker{
		format:   format,
		presence: float32(r.PresencePenalty), frequency: float32(r.FrequencyPenalty), bias: r.LogitBias,
		tell: r.Logprobs, top: r.TopLogprobs, words: words,
	}
	if p.penalizes() {
		p.counts = map[int32]int32{}
	}
	if !p.tell && !p.changes() && len(r.Tools) == 0 {
		return nil
	}
	return p
}

func (p *picker) penalizes() bool { return p.presence != 0 || p.frequency != 0 }

func (p *picker) changes() bool { return p.penalizes() || len(p.bias) > 0 || p.format != nil }

// noToken stands for a pick that nothing was left for.
const noToken = -1

// pick returns the next token of a sequence whose logits are computed.
func (s *sequence) pick() int32 {
	p := s.picker
	if p == nil {
		return s.sampler.Next(s.logits)
	}
	own := s.logits
	if p.tell && p.changes() {
		p.raw = append(p.raw[:0], s.logits...)
		own = p.raw
	}
	p.shape(s.logits)
	if p.format != nil && p.format.Constrain(s.logits) == 0 {
		return noToken
	}
	token := s.sampler.Next(s.logits)
	if p.penalizes() {
		p.counts[token]++
	}
	if p.tell {
		p.picked = p.describe(own, token)
	}
	return token
}

// holds takes the bytes of a token that was picked, and says whether the answer is
// complete with it.
func (p *picker) holds(piece []byte) (complete bool) {
	return p != nil && p.format != nil && p.format.Accept(piece) && p.format.Done()
}

// shape changes the logits by OpenAI's formula: to each that was generated c times,
// less c times the frequency penalty and once the presence penalty; then the bias.
func (p *picker) shape(logits []float32) {
	for token, c := range p.counts {
		logits[token] -= float32(c)*p.frequency + p.presence
	}
	for token, b := range p.bias {
		if int(token) < len(logits) {
			logits[token] += b
		}
	}
}

func (p *picker) describe(logits []float32, token int32) dialect.Token {
	var chosen sample.Logprob
	chosen, p.ranked = sample.Logprobs(p.ranked[:0], logits, token, p.top)
	t := p.token(chosen)
	for _, l := range p.ranked {
		t.Top = append(t.Top, p.token(l))
	}
	return t
}

func (p *picker) token(l sample.Logprob) dialect.Token {
	return dialect.Token{Bytes: p.words.SpecialPiece(l.Token), Logprob: l.Logprob}
}

// told are the tokens of a sequence whose text is not out yet, since it may become
// a part of a stop string or of a character.
type told struct {
	waiting []dialect.Token
	from    []int // where in the answer's bytes each begins
	made    int   // bytes of all tokens
	out     int   // bytes of the text that is out
}

// add notes a token.
func (l *told) add(t dialect.Token) {
	l.waiting = append(l.waiting, t)
	l.from = append(l.from, l.made)
	l.made += len(t.Bytes)
}

// release returns the tokens that go out with a piece of text: those that begin in
// it or before it, or all.
func (l *told) release(text string, all bool) []dialect.Token {
	l.out += len(text)
	n := 0
	for n < len(l.waiting) && (all || l.from[n] < l.out) {
		n++
	}
	released := l.waiting[:n:n]
	l.waiting, l.from = l.waiting[n:], l.from[n:]
	return released
}
