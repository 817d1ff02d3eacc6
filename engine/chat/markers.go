package chat

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/semantic-pod/semantic/engine/tokenizer"
)

// The private code points are U+10F000 to U+10FFFF, which begin with the same two bytes. In a
// rendered text a marker stands for a special token, and three digits for a code point of a
// message: a private one, or one that was hidden.
const (
	privateBytes = "\xf4\x8f"
	firstMarker  = 0x10F000
	firstDigit   = 0x10F800 // + 7 bits of a code point; each of the three places has its own 128
	blank        = 0x10FF00 // a character of a message that was blanked out
)

// mark returns the private code point of a special token, or "" for a token that is none.
func (t *Template) mark(id int32) string {
	if !t.tokenizer.IsControl(id) {
		return ""
	}
	for i, m := range t.markers {
		if m == id {
			return string(rune(firstMarker + i))
		}
	}
	t.markers = append(t.markers, id)
	return string(rune(firstMarker + len(t.markers) - 1))
}

// markSource replaces the special tokens that a template spells out.
func (t *Template) markSource(source string) (string, error) {
	if strings.Contains(source, privateBytes) {
		return "", fmt.Errorf("the template has code points from U+%X on, which are reserved", firstMarker)
	}
	var b strings.Builder
	at := 0
	for _, m := range t.tokenizer.Markers(source) {
		b.WriteString(source[at:m.From])
		b.WriteString(t.mark(m.Token))
		at = m.To
	}
	b.WriteString(source[at:])
	if len(t.markers) > firstDigit-firstMarker {
		return "", fmt.Errorf("the template has %d special tokens", len(t.markers))
	}
	return b.String(), nil
}

// hide writes a code point as three digits, which no template takes for what it is.
func hide(b *strings.Builder, r rune) {
	b.WriteRune(firstDigit + r>>14)
	b.WriteRune(firstDigit + 128 + r>>7&127)
	b.WriteRune(firstDigit + 256 + r&127)
}

// reveal returns the code point whose digits text begins with, and their length.
func reveal(text string) (r rune, size int) {
	for place := range 3 {
		digit, n := utf8.DecodeRuneInString(text[size:])
		digit -= firstDigit + rune(place)*128
		if digit < 0 || digit > 127 {
			return utf8.RuneError, max(size, n) // the template cut them, or put them together
		}
		r, size = r<<7|digit, size+n
	}
	return r, size
}

// escape hides the private code points of a message.
func escape(content string) string {
	if !strings.Contains(content, privateBytes) {
		return content
	}
	var b strings.Builder
	for _, r := range content {
		if r >= firstMarker {
			hide(&b, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// split parts a rendered text into special tokens and text, with nothing private left in it.
func (t *Template) split(text string) []tokenizer.Segment {
	var segments []tokenizer.Segment
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			segments = append(segments, tokenizer.Segment{Text: b.String()})
			b.Reset()
		}
	}
	for text != "" {
		i := strings.Index(text, privateBytes)
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		if r, n := utf8.DecodeRuneInString(text); r >= firstMarker && int(r) < firstMarker+len(t.markers) {
			flush()
			marker := t.tokenizer.SpecialPiece(t.markers[r-firstMarker])
			segments = append(segments, tokenizer.Segment{Text: string(marker), Trusted: true})
			text = text[n:]
			continue
		}
		r, n := reveal(text)
		b.WriteRune(r)
		text = text[n:]
	}
	flush()
	return segments
}
