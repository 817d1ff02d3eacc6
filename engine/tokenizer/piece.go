package tokenizer

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// pieces holds every token's bytes side by side.
type pieces struct {
	bytes []byte
	ends  []int32
}

// Piece returns the bytes that a token adds to an answer: a part of a character, a character or
// several. Control tokens add none. The bytes must not be changed.
func (t *Tokenizer) Piece(id int32) []byte {
	if id < 0 || int(id) >= len(t.pieces.ends) {
		return nil
	}
	var from int32
	if id > 0 {
		from = t.pieces.ends[id-1]
	}
	to := t.pieces.ends[id]
	return t.pieces.bytes[from:to:to]
}

// SpecialPiece returns what Piece does, but a control token as it is written.
func (t *Tokenizer) SpecialPiece(id int32) []byte {
	if t.IsControl(id) {
		return []byte(t.texts[id])
	}
	return t.Piece(id)
}

func newPieces(v *vocabulary, model string) pieces {
	p := pieces{ends: make([]int32, len(v.texts))}
	size := 0
	for _, text := range v.texts {
		size += len(text)
	}
	p.bytes = make([]byte, 0, size)
	for i, text := range v.texts {
		switch k := v.kinds[i]; {
		case k == kindByte:
			if b, ok := byteToken(text); ok {
				p.bytes = append(p.bytes, b)
			}
		case k == kindUserDefined:
			p.bytes = append(p.bytes, text...)
		case k != kindNormal:
		case model == modelSPM:
			p.bytes = append(p.bytes, strings.ReplaceAll(text, spmSpace, " ")...)
		default:
			p.bytes = appendBytes(p.bytes, text)
		}
		p.ends[i] = int32(len(p.bytes))
	}
	return p
}

// byteToken returns the byte of a token that is written <0xNN>.
func byteToken(text string) (byte, bool) {
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(b), err == nil
}

// byteAlphabet writes bytes as printable characters, as GPT-2's vocabulary does: bytes that are
// printable in Latin-1 stand for themselves, the others are numbered from U+0100 on.
var byteAlphabet, alphabetByte = func() (characters [256]rune, bytes [324]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	hidden := rune(256)
	for b := range characters {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			r = hidden
			hidden++
		}
		characters[b], bytes[r] = r, int16(b)
	}
	return characters, bytes
}()

// appendAlphabet appends bytes as the alphabet writes them.
func appendAlphabet(dst []byte, text string) []byte {
	for i := range len(text) {
		dst = utf8.AppendRune(dst, byteAlphabet[text[i]])
	}
	return dst
}

// appendBytes is the inverse. A character outside the alphabet stays what it is.
func appendBytes(dst []byte, text string) []byte {
	for _, r := range text {
		if int(r) < len(alphabetByte) && alphabetByte[r] >= 0 {
			dst = append(dst, byte(alphabetByte[r]))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
