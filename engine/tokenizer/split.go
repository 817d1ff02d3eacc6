package tokenizer

import "unicode/utf8"

// The splitters below do by hand what the patterns say. Each pattern takes every character, so a
// word is always the pattern's match at the beginning of what is left; split_test.go checks each
// against the pattern itself.

// gpt2 is the pattern
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// on a text that ends before the first character of class fence.
func (s *splitter) gpt2(text string, fence class) int {
	if n := contraction(text, false); n > 0 {
		return n
	}
	c, after := s.at(text, 0)
	if text[0] == ' ' {
		if d, _ := s.at(text, 1); d&fence == 0 && d&(letter|number|other) != 0 {
			c = d
		}
	}
	if c&space == 0 {
		return s.run(text, after, c&(letter|number|other), fence)
	}
	return s.blank(text, fence)
}

// blank is \s+(?!\S)|\s+ : white space leaves its last character to the word that follows.
func (s *splitter) blank(text string, fence class) int {
	last, i := 0, 0
	for {
		c, after := s.at(text, i)
		if c == end || c&fence != 0 {
			return i
		}
		if c&space == 0 {
			break
		}
		last, i = i, after
	}
	if last > 0 {
		return last
	}
	return i
}

// contraction returns the length of an English contraction's end, such as 's or 're.
func contraction(text string, anyCase bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	var fold byte
	if anyCase {
		fold = 0x20
	}
	switch a := text[1] | fold; a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		if len(text) < 3 {
			return 0
		}
		if b := text[2] | fold; a != 'l' && b == 'e' || a == 'l' && b == 'l' {
			return 3
		}
	}
	return 0
}

// nextGPT2 is the plain pattern.
func nextGPT2(s *splitter, text string) int { return s.gpt2(text, end) }

// nextSmolLM first makes every \p{N} a word of its own, then applies gpt2 between them.
func nextSmolLM(s *splitter, text string) int {
	if c, after := s.at(text, 0); c&number != 0 {
		return after
	}
	return s.gpt2(text, number)
}

// nextDefault first cuts out runs of [\p{P}$+<=>^~|], applies gpt2 between them, then cuts numbers
// from their space, and groups of three ASCII digits from numbers.
func nextDefault(s *splitter, text string) int {
	c, _ := s.at(text, 0)
	switch {
	case c&isolated != 0:
		return s.run(text, 0, isolated, end)
	case c&number != 0:
		return s.digits(text)
	}
	if text[0] == ' ' {
		if d, _ := s.at(text, 1); d&number != 0 {
			return 1
		}
	}
	return s.gpt2(text, isolated)
}

// digits returns three ASCII digits, or what stands before the next three of the same number.
func (s *splitter) digits(text string) int {
	ascii := 0
	for i := 0; ; {
		c, after := s.at(text, i)
		switch {
		case c&number == 0:
			return i
		case text[i] >= utf8.RuneSelf:
			ascii = 0
		default:
			ascii++
		}
		if i = after; ascii == 3 {
			if i > 3 {
				return i - 3
			}
			return 3
		}
	}
}

// nextLlama3 and nextQwen2 are the pattern
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// with numbers of up to three digits, or of one.
func nextLlama3(s *splitter, text string) int { return s.llama3(text, 3) }
func nextQwen2(s *splitter, text string) int  { return s.llama3(text, 1) }

func (s *splitter) llama3(text string, digits int) int {
	if n := contraction(text, true); n > 0 {
		return n
	}
	c, after := s.at(text, 0)
	d, _ := s.at(text, after)
	lineEnd := text[0] == '\r' || text[0] == '\n'
	switch {
	case c&letter != 0, c&number == 0 && !lineEnd && d&letter != 0:
		return s.run(text, after, letter, end)
	case c&number != 0:
		for ; digits > 1 && d&number != 0; digits-- {
			_, after = s.at(text, after)
			d, _ = s.at(text, after)
		}
		return after
	case c&other != 0, text[0] == ' ' && d&other != 0:
		i := s.run(text, after, other, end)
		for i < len(text) && (text[i] == '\r' || text[i] == '\n') {
			i++
		}
		return i
	}
	stop := s.run(text, 0, space, end)
	for i := stop; i > 0; i-- { // \s*[\r\n]+ : up to the last line end
		if text[i-1] == '\r' || text[i-1] == '\n' {
			return i
		}
	}
	return s.blank(text, end)
}
