package constrain

// The places in a string. c.i counts characters.
const (
	beforeText uint8 = iota
	inText
	afterBackslash
	inHex // and three more: the digits of \uXXXX
)

func (g *Grammar) stepText(c config, b byte, out []config) []config {
	n := &g.nodes[c.node]
	switch {
	case c.phase == beforeText:
		return c.when(b == '"', inText, out)
	case c.phase == afterBackslash:
		switch b {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return c.when(true, inText, out)
		}
		return c.when(b == 'u', inHex, out)
	case c.phase >= inHex:
		hex := b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f'
		if c.phase == inHex && b|0x20 == 'd' {
			return out // no halves of surrogate pairs
		}
		if c.phase == inHex+3 {
			return c.when(hex, inText, out)
		}
		return c.when(hex, c.phase+1, out)
	case b == '"' && c.tail == 0:
		if int(c.i) < n.minLength {
			return out
		}
		return g.pop(c, out)
	}
	if c.tail == 0 {
		if n.maxLength >= 0 && int(c.i) >= n.maxLength {
			return out
		}
		if c.i < 1<<30 {
			c.i++
		}
		if b == '\\' {
			return c.when(true, afterBackslash, out)
		}
	}
	tail, ok := utf8Tail(c.tail, b)
	if !ok {
		return out
	}
	c.tail = tail
	return append(out, c)
}

// What must follow in a character of UTF-8: so many more bytes, the next of which
// is bounded for those that would else be overlong, surrogates or too large.
const (
	oneMore uint8 = iota + 1
	twoMore
	threeMore
	afterE0
	afterED
	afterF0
	afterF4
)

// utf8Tail reads one byte of a character, of which no control character is one.
func utf8Tail(tail, b uint8) (uint8, bool) {
	low, high, then := uint8(0x80), uint8(0xBF), uint8(0)
	switch tail {
	case 0:
		switch {
		case b < 0x20 || b >= 0x80 && b < 0xC2 || b > 0xF4:
			return 0, false
		case b < 0x80:
			return 0, true
		case b < 0xE0:
			return oneMore, true
		case b == 0xE0:
			return afterE0, true
		case b == 0xED:
			return afterED, true
		case b < 0xF0:
			return twoMore, true
		case b == 0xF0:
			return afterF0, true
		case b == 0xF4:
			return afterF4, true
		}
		return threeMore, true
	case twoMore:
		then = oneMore
	case threeMore:
		then = twoMore
	case afterE0:
		low, then = 0xA0, oneMore
	case afterED:
		high, then = 0x9F, oneMore
	case afterF0:
		low, then = 0x90, twoMore
	case afterF4:
		high, then = 0x8F, twoMore
	}
	return then, b >= low && b <= high
}
