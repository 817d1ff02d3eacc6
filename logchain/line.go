package logchain

import "bytes"

// Line is what the head of a log line says. The fields are views of the line.
type Line struct {
	Time  []byte // RFC 3339 with nanoseconds, UTC: sorts as text
	Boot  []byte
	Seq   uint64
	Level []byte
}

// The head of each line that the pod's processes write; the parts between are of
// fixed length but for seq and level.
const (
	lineTime  = `{"ts":"`
	lineBoot  = `","boot":"`
	lineSeq   = `","seq":`
	lineLevel = `,"level":"`

	timeDigits = len("2006-01-02T15:04:05.000000000Z")
	bootDigits = 16
	bootAt     = len(lineTime) + timeDigits + len(lineBoot)
	seqAt      = bootAt + bootDigits + len(lineSeq)
)

// ParseLine reads the head of a log line. One that another program wrote has none.
func ParseLine(text []byte) (Line, bool) {
	if len(text) < seqAt || string(text[:len(lineTime)]) != lineTime ||
		string(text[bootAt-len(lineBoot):bootAt]) != lineBoot || string(text[seqAt-len(lineSeq):seqAt]) != lineSeq {
		return Line{}, false
	}
	l := Line{Time: text[len(lineTime) : len(lineTime)+timeDigits], Boot: text[bootAt : bootAt+bootDigits]}
	i := seqAt
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		l.Seq = l.Seq*10 + uint64(text[i]-'0')
	}
	rest, ok := bytes.CutPrefix(text[i:], []byte(lineLevel))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return Line{}, false
	}
	l.Level = rest[:end]
	return l, true
}

// IsError reports whether the line is of level error or above.
func (l Line) IsError() bool {
	switch string(l.Level) {
	case "error", "dpanic", "panic", "fatal":
		return true
	}
	return false
}
