// Package text turns the pieces of tokens into the text of an answer while it is being made: a
// character that is not whole yet waits, and so does whatever may still become a stop string.
//
// Read: stream.go.
package text

import (
	"strings"
	"unicode/utf8"
)

// Stream is the text of one answer. What it emits does not depend on where the pieces part.
type Stream struct {
	stops   []string
	bytes   []byte // the beginning of a character
	held    string // text that may be the beginning of a stop string
	matched string
	rest    string // what came after that
	stopped bool
}

// NewStream returns a stream that ends before the first of the stop strings. Empty ones stop
// nothing; bytes that are no character count as U+FFFD, as they do in the text.
func NewStream(stops []string) *Stream {
	s := new(Stream)
	for _, stop := range stops {
		if stop != "" {
			s.stops = append(s.stops, string([]rune(stop)))
		}
	}
	return s
}

// Push takes the bytes of a token and returns the text that is certain to belong to the answer,
// and whether a stop string has ended it. Bytes that can be part of no character become U+FFFD.
func (s *Stream) Push(piece []byte) (out string, stopped bool) {
	if s.stopped {
		return "", true
	}
	s.bytes = append(s.bytes, piece...)
	return s.emit(s.whole(false))
}

// Flush ends the stream and returns the text that was still waiting.
func (s *Stream) Flush() string {
	if s.stopped {
		return ""
	}
	out, stopped := s.emit(s.whole(true))
	if !stopped {
		out += s.held
	}
	s.held, s.stopped = "", true
	return out
}

// Rest returns what had come after the stop string when it ended the answer.
func (s *Stream) Rest() []byte { return append([]byte(s.rest), s.bytes...) }

// Matched returns the stop string that ended the answer, or "".
func (s *Stream) Matched() string { return s.matched }

// whole takes all whole characters, or with all every byte, out of s.bytes.
func (s *Stream) whole(all bool) string {
	n := len(s.bytes)
	if !all {
		for i := max(0, n-utf8.UTFMax+1); i < n; i++ {
			if utf8.RuneStart(s.bytes[i]) && !utf8.FullRune(s.bytes[i:]) {
				n = i
			}
		}
	}
	var out string
	if utf8.Valid(s.bytes[:n]) {
		out = string(s.bytes[:n])
	} else {
		out = string([]rune(string(s.bytes[:n]))) // each byte that is no character becomes U+FFFD
	}
	s.bytes = append(s.bytes[:0], s.bytes[n:]...)
	return out
}

// emit adds text to what is held and returns what cannot be a part of a stop string any more.
// Of two stop strings the one that ends first counts, of two that end together the longer.
func (s *Stream) emit(text string) (out string, stopped bool) {
	text = s.held + text
	from, to := -1, 0
	for _, stop := range s.stops {
		i := strings.Index(text, stop)
		if i < 0 {
			continue
		}
		if end := i + len(stop); from < 0 || end < to || end == to && i < from {
			from, to, s.matched = i, end, stop
		}
	}
	if from >= 0 {
		s.held, s.stopped, s.rest = "", true, text[to:]
		return text[:from], true
	}
	n := len(text) - s.beginning(text)
	s.held = text[n:]
	return text[:n], false
}

// beginning returns the length of the longest end of text that begins a stop string.
func (s *Stream) beginning(text string) int {
	longest := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}
