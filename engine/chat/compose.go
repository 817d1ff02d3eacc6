package chat

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/semantic-pod/semantic/engine/tokenizer"
)

// errAmbiguous: the template makes special tokens from parts, and so does a message.
var errAmbiguous = errors.New("cannot tell the special tokens of the model's chat template from those that a message spells out")

// lookAlike says whether text holds what is written like a special token.
func (t *Template) lookAlike(segments []tokenizer.Segment) bool {
	return slices.ContainsFunc(segments, func(s tokenizer.Segment) bool {
		return !s.Trusted && len(t.tokenizer.Markers(s.Text)) > 0
	})
}

// compose deals with a rendering in which text looks like special tokens. Either the messages
// spell them out, and they are text; or the template makes them from parts, such as '<|' + role +
// '|>'. With every character of every message blanked out only the template's own remain, which
// settles it for nearly all templates.
//
// Where the template does make some, the look-alikes of the messages are hidden, and what is left
// must be the same special tokens in the same order as with blank messages, or else the prompt is
// refused.
func (t *Template) compose(messages []Message, o Options, plain []tokenizer.Segment) ([]tokenizer.Segment, error) {
	blanked, err := t.execute(messages, o, blankOut)
	if err != nil {
		return nil, err
	}
	if len(t.tokenizer.Markers(blanked)) == 0 {
		return plain, nil
	}
	hidden, err := t.execute(messages, o, t.hideLookAlikes)
	if err != nil {
		return nil, err
	}
	segments := t.splitComposed(hidden)
	if !slices.Equal(trusted(segments), trusted(t.splitComposed(blanked))) {
		return nil, errAmbiguous
	}
	return segments, nil
}

// splitComposed is split with what the rendered text composes taken for special tokens too.
func (t *Template) splitComposed(text string) []tokenizer.Segment {
	var segments []tokenizer.Segment
	at := 0
	for _, m := range t.tokenizer.Markers(text) {
		segments = append(segments, t.split(text[at:m.From])...)
		segments = append(segments, tokenizer.Segment{Text: text[m.From:m.To], Trusted: true})
		at = m.To
	}
	return append(segments, t.split(text[at:])...)
}

func trusted(segments []tokenizer.Segment) []string {
	var out []string
	for _, s := range segments {
		if s.Trusted {
			out = append(out, s.Text)
		}
	}
	return out
}

// blankOut leaves nothing that a special token could be composed of; white space stays, since
// templates trim it.
func blankOut(content string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return r
		}
		return blank
	}, content)
}

// hideLookAlikes hides what is written like a special token.
func (t *Template) hideLookAlikes(content string) string {
	var b strings.Builder
	at := 0
	for _, m := range t.tokenizer.Markers(content) {
		b.WriteString(escape(content[at:m.From]))
		for _, r := range content[m.From:m.To] {
			hide(&b, r)
		}
		at = m.To
	}
	b.WriteString(escape(content[at:]))
	return b.String()
}
