package telemetry

import (
	"strconv"
	"time"
)

// headBytes is room enough for a line's head.
const headBytes = 128

// stamp writes times as the line's first field. Most lines come in the second of
// the one before, so all but the fraction is kept.
type stamp struct {
	second int64
	text   []byte // {"ts":"2026-11-23T12:45:07.
}

func (s *stamp) append(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != s.second || s.text == nil {
		s.second = second
		s.text = append(s.text[:0], `{"ts":"`...)
		s.text = t.UTC().AppendFormat(s.text, "2006-01-02T15:04:05.")
	}
	b = append(b, s.text...)
	var digits [10]byte
	n := t.Nanosecond()
	for i := 8; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	digits[9] = 'Z'
	return append(b, digits[:]...)
}

// appendBootSeq writes the rest of the head.
func appendBootSeq(b []byte, boot string, seq uint64) []byte {
	b = append(b, `","boot":"`...)
	b = append(b, boot...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	return append(b, ',')
}
