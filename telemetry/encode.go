package telemetry

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// core encodes zap's entries. A line is a head (ts, boot, seq), which is known only
// when the line takes its place in the file, and a tail, encoded before that and
// outside any lock.
type core struct {
	log     *Log
	json    zapcore.Encoder // with the fields given to With
	console zapcore.Encoder // for Stderr; nil when that gets JSON too
	context []byte          // the process and the fields given to With, encoded
	plain   bool            // context could be encoded by appendFields
}

// tails keeps buffers for the lines being encoded.
var tails = sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }}

func newCore(l *Log, console bool) *core {
	cfg := zapcore.EncoderConfig{
		LevelKey:       "level",
		MessageKey:     "msg",
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
		LineEnding:     "\n",
	}
	c := &core{log: l, json: zapcore.NewJSONEncoder(cfg)}
	process := []zap.Field{zap.String("process", l.process)}
	process[0].AddTo(c.json)
	c.context, c.plain = appendFields(nil, process)
	if console {
		cfg.TimeKey = "ts"
		cfg.NameKey = "process"
		cfg.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		cfg.EncodeLevel = zapcore.CapitalColorLevelEncoder
		cfg.ConsoleSeparator = "  "
		c.console = zapcore.NewConsoleEncoder(cfg)
	}
	return c
}

// Enabled, With, Check, Write and Sync make a zapcore.Core.
func (c *core) Enabled(l zapcore.Level) bool { return c.log.level.Enabled(l) }

func (c *core) With(fields []zap.Field) zapcore.Core {
	next := &core{log: c.log, json: c.json.Clone()}
	next.context, next.plain = appendFields(slices.Clip(c.context), fields)
	next.plain = next.plain && c.plain
	if c.console != nil {
		next.console = c.console.Clone()
	}
	for i := range fields {
		fields[i].AddTo(next.json)
		if next.console != nil {
			fields[i].AddTo(next.console)
		}
	}
	return next
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fields []zap.Field) error {
	c.write(e, fields, e.Level >= zapcore.WarnLevel)
	if e.Level > zapcore.ErrorLevel {
		return c.Sync() // the process may be about to end
	}
	return nil
}

func (c *core) Sync() error { return c.log.Sync() }

// write takes the line into the file's buffer, and to Stderr when loud.
func (c *core) write(e zapcore.Entry, fields []zap.Field, loud bool) {
	l := c.log
	var seq uint64
	if l.writer != nil {
		tail := tails.Get().(*[]byte)
		*tail = c.appendTail((*tail)[:0], e, fields)
		var accepted bool
		seq, accepted = l.writer.append(e.Time, *tail, loud)
		tails.Put(tail)
		if accepted {
			l.lines[levelIndex(e.Level)].Add(1)
		}
	} else {
		seq = l.seq.Add(1)
		l.lines[levelIndex(e.Level)].Add(1)
		loud = true
	}
	if loud && l.mirror != nil {
		c.mirrorLine(e, seq, fields)
	}
}

// appendTail writes the line after its head.
func (c *core) appendTail(b []byte, e zapcore.Entry, fields []zap.Field) []byte {
	if c.plain {
		tail := append(b, `"level":"`...)
		tail = append(tail, e.Level.String()...)
		tail = append(tail, `","msg":`...)
		tail = appendString(tail, e.Message)
		tail = append(tail, c.context...)
		if tail, ok := appendFields(tail, fields); ok {
			return append(tail, '}', '\n')
		}
	}
	line, err := c.json.EncodeEntry(e, fields)
	if err != nil {
		// zap turns what a field cannot tell into a field, so this is not seen.
		return append(b, fmt.Sprintf(`"level":"error","msg":"cannot encode a log line","error":%q}`+"\n", err)...)
	}
	b = append(b, line.Bytes()[1:]...)
	line.Free()
	return b
}

// mirrorLine sends one line to Stderr. What was never in the file has seq 0.
func (c *core) mirrorLine(e zapcore.Entry, seq uint64, fields []zap.Field) {
	var line []byte
	if c.console != nil {
		e.LoggerName = c.log.process
		text, err := c.console.EncodeEntry(e, fields)
		if err != nil {
			return
		}
		line = slices.Clone(text.Bytes())
		text.Free()
	} else {
		var s stamp
		line = appendBootSeq(s.append(nil, e.Time), c.log.boot, seq)
		line = c.appendTail(line, e, fields)
	}
	c.log.mirror.append(line)
}

// levelIndex finds the level's place in levelNames.
func levelIndex(l zapcore.Level) int {
	return min(int(l-zapcore.DebugLevel), len(levelNames)-1)
}

// wantsConsole reports whether Stderr gets lines for people.
func wantsConsole(format string, stderr io.Writer) (bool, error) {
	switch format {
	case "json":
		return false, nil
	case "console":
		return true, nil
	case "", "auto":
		f, ok := stderr.(*os.File)
		if !ok {
			return false, nil
		}
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		return err == nil, nil
	}
	return false, fmt.Errorf("--log-format=%s is no format: write auto, json or console", format)
}
