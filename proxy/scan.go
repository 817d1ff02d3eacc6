package proxy

import "bytes"

// asked is what a body says of the length of its answers. Zeros are not given, or
// nothing that a number of tokens can be.
type asked struct {
	most, choices int64
	model         string // as it stands between its quotes: a view of the body
}

// Bounds of what is believed: their product fits in 64 bits.
const (
	mostTokens  = 1e12
	mostChoices = 1e6
)

// completion is how many tokens all answers together may have.
func (a asked) completion(byDefault int64) int64 {
	most := a.most
	if most == 0 {
		most = byDefault
	}
	return min(most, mostTokens) * max(1, min(a.choices, mostChoices))
}

// scan reads max_tokens, max_completion_tokens and n at the top level of a JSON
// object, and steps over all else without looking into it. It judges nothing: of a
// body that is no JSON it returns what came before the fault, and the engine
// refuses it. Of two bounds the larger counts; the allowance holds in any case.
func scan(body []byte) (a asked) {
	s := scanner{b: body}
	if !s.take('{') {
		return a
	}
	for s.at() == '"' {
		name, ok := s.text()
		if !ok || !s.take(':') {
			return a
		}
		switch string(name) {
		case "max_tokens", "max_completion_tokens":
			a.most = max(a.most, s.number())
		case "model":
			at := s.i
			model, _ := s.text()
			a.model, s.i = text(model), at
		case "n":
			a.choices = max(a.choices, s.number())
		}
		if !s.skip() || !s.take(',') {
			return a
		}
	}
	return a
}

// scanner walks over JSON.
type scanner struct {
	b []byte
	i int
}

// at is the next byte that is no white space; 0 at the end.
func (s *scanner) at() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.at() != c || s.i == len(s.b) {
		return false
	}
	s.i++
	return true
}

// text steps over a string and returns what is between its quotes, as it came.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	start := s.i
	for {
		j := bytes.IndexByte(s.b[s.i:], '"')
		if j < 0 {
			s.i = len(s.b)
			return nil, false
		}
		end := s.i + j
		s.i = end + 1
		escapes := 0
		for k := end - 1; k >= start && s.b[k] == '\\'; k-- {
			escapes++
		}
		if escapes%2 == 0 {
			return s.b[start:end], true
		}
	}
}

// number is the whole number above zero that comes next, without stepping over it;
// 0 if it is anything else.
func (s *scanner) number() int64 {
	s.at()
	n, digits := int64(0), 0
	for _, c := range s.b[s.i:] {
		if c < '0' || c > '9' {
			if c == '.' || c == 'e' || c == 'E' {
				return 0
			}
			break
		}
		n = min(n*10+int64(c-'0'), mostTokens)
		digits++
	}
	if digits == 0 {
		return 0
	}
	return n
}

// skip steps over a value.
func (s *scanner) skip() bool {
	switch s.at() {
	case '"':
		_, ok := s.text()
		return ok
	case '{', '[':
		return s.skipNested()
	}
	start := s.i
	for s.i < len(s.b) && !isDelimiter(s.b[s.i]) {
		s.i++
	}
	return s.i > start
}

func (s *scanner) skipNested() bool {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if _, ok := s.text(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.i++
		if depth == 0 {
			return true
		}
	}
	return false
}

func isDelimiter(c byte) bool {
	switch c {
	case ',', '}', ']', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
