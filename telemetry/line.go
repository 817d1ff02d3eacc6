package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Line is a line of the log that its writer puts together itself: for one that is
// written for every request, where a list of fields that zap then reads would cost as
// much as all else that is done for the line. It is kept from line to line.
type Line struct {
	tail  []byte // after ts, boot and seq
	level zapcore.Level
	msg   string
}

// Begin empties the line. It reports false if the level is held back: then there is
// nothing to be written.
func (l *Log) Begin(n *Line, level zapcore.Level, msg string) bool {
	if !l.level.Enabled(level) {
		return false
	}
	n.level, n.msg = level, msg
	b := append(n.tail[:0], `"level":"`...)
	b = append(b, level.String()...)
	b = append(b, `","msg":`...)
	b = appendString(b, msg)
	n.tail = append(b, l.core.context...)
	return true
}

// Text, Number and Milliseconds add a field. The key is a literal that stands for
// itself in JSON; a time is written in thousandths.
func (n *Line) Text(key, value string) {
	if !isPlain(value) {
		n.tail = appendString(n.key(key), value)
		return
	}
	size := len(`,"":""`) + len(key) + len(value)
	at := len(n.tail)
	n.tail = slices.Grow(n.tail, size)[:at+size]
	b := n.tail[at:]
	b[0], b[1] = ',', '"'
	i := 2 + copy(b[2:], key)
	b[i], b[i+1], b[i+2] = '"', ':', '"'
	i += 3
	i += copy(b[i:], value)
	b[i] = '"'
}

// Number is for whole numbers.
func (n *Line) Number(key string, value int64) { n.tail = strconv.AppendInt(n.key(key), value, 10) }

// Milliseconds is for times.
func (n *Line) Milliseconds(key string, d time.Duration) {
	n.tail = appendThousandths(n.key(key), int64((d+time.Microsecond/2)/time.Microsecond))
}

func (n *Line) key(key string) []byte {
	size := len(`,"":`) + len(key)
	at := len(n.tail)
	n.tail = slices.Grow(n.tail, size)[:at+size]
	b := n.tail[at:]
	b[0], b[1] = ',', '"'
	i := 2 + copy(b[2:], key)
	b[i], b[i+1] = '"', ':'
	return n.tail
}

// End takes the line, which came to be at t.
func (l *Log) End(n *Line, t time.Time) {
	n.tail = append(n.tail, '}', '\n')
	var seq uint64
	accepted, loud := true, l.writer == nil
	if loud {
		seq = l.seq.Add(1)
	} else {
		loud = n.level >= zapcore.WarnLevel
		seq, accepted = l.writer.append(t, n.tail, loud)
	}
	if accepted {
		l.lines[levelIndex(n.level)].Add(1)
	}
	if loud && l.mirror != nil {
		l.core.mirrorTail(n, t, seq)
	}
}

// mirrorTail sends a line that is encoded to Stderr: as it is, or for people.
func (c *core) mirrorTail(n *Line, t time.Time, seq uint64) {
	if c.console != nil {
		fields := fieldsOf(n.tail)
		c.mirrorLine(zapcore.Entry{Level: n.level, Time: t, Message: n.msg}, seq, fields)
		return
	}
	var s stamp
	c.log.mirror.append(append(appendBootSeq(s.append(nil, t), c.log.boot, seq), n.tail...))
}

// fieldsOf reads the fields back, without those that every line has.
func fieldsOf(tail []byte) (fields []zap.Field) {
	d := json.NewDecoder(bytes.NewReader(append([]byte{'{'}, tail...)))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil // a Line is JSON by construction
	}
	for d.More() {
		key, keyErr := d.Token()
		value, err := d.Token()
		name, ok := key.(string)
		if keyErr != nil || err != nil || !ok {
			return fields
		}
		switch v := value.(type) {
		case string:
			if name != "level" && name != "msg" && name != "process" {
				fields = append(fields, zap.String(name, v))
			}
		case json.Number:
			fields = append(fields, zap.Reflect(name, v))
		}
	}
	return fields
}
