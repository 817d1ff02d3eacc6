package telemetry

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// appendFields writes fields of the plain kinds, each with a comma before it. It
// exists because the access line has some twenty of them and is written for every
// request. For any other kind it returns false, and zap's own encoder, which gives
// the same text, takes the whole line.
func appendFields(b []byte, fields []zap.Field) ([]byte, bool) {
	for i := range fields {
		f := &fields[i]
		if f.Type == zapcore.SkipType {
			continue
		}
		b = append(b, ',')
		b = appendString(b, f.Key)
		b = append(b, ':')
		switch f.Type {
		case zapcore.StringType:
			b = appendString(b, f.String)
		case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
			b = strconv.AppendInt(b, f.Integer, 10)
		case zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type:
			b = strconv.AppendUint(b, uint64(f.Integer), 10)
		case zapcore.Float64Type:
			b = appendFloat(b, math.Float64frombits(uint64(f.Integer)))
		case zapcore.BoolType:
			b = strconv.AppendBool(b, f.Integer == 1)
		case zapcore.DurationType:
			b = appendString(b, time.Duration(f.Integer).String())
		default:
			return b, false
		}
	}
	return b, true
}

// appendFloat writes numbers that JSON does not have as strings.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"+Inf"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Inf"`...)
	}
	// Times are in thousandths, for which the shortest text needs no search.
	if n := int64(math.Round(f * 1000)); !math.Signbit(f) && f < 1e9 && float64(n)/1000 == f {
		return appendThousandths(b, n)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

func appendThousandths(b []byte, n int64) []byte {
	b = strconv.AppendInt(b, n/1000, 10)
	rest := n % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// plainByte tells which bytes stand for themselves in a JSON string.
var plainByte = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// appendString writes s as a JSON string, bytes that are no UTF-8 as U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := plainPrefix(s); i < len(s); {
		if plainByte[s[i]] {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, s[i])
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plainPrefix counts, by eights, bytes at the start of s that stand for themselves.
// It may stop early, never late.
func plainPrefix(s string) (n int) {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; n+8 <= len(s); n += 8 {
		v := uint64(s[n]) | uint64(s[n+1])<<8 | uint64(s[n+2])<<16 | uint64(s[n+3])<<24 |
			uint64(s[n+4])<<32 | uint64(s[n+5])<<40 | uint64(s[n+6])<<48 | uint64(s[n+7])<<56
		quote, slash := v^each*'"', v^each*'\\'
		if (v|(v-each*' ')|(quote-each)|(slash-each))&high != 0 {
			return n
		}
	}
	return n
}

// isPlain reports that all of s stands for itself in JSON, and is ASCII.
func isPlain(s string) bool {
	for i := plainPrefix(s); i < len(s); i++ {
		if !plainByte[s[i]] {
			return false
		}
	}
	return true
}

func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, '\\', 'n')
	case c == '\r':
		return append(b, '\\', 'r')
	case c == '\t':
		return append(b, '\\', 't')
	case c < ' ':
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return append(b, `\ufffd`...)
}
