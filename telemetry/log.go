// Package telemetry is what the three processes tell about themselves: log lines
// that survive rotation by another process, and metrics in an exposition of our own.
//
// Read, for logs: log, repeated, encode, fields, line, stamp, buffer, writer, logfile, watch,
// mirror, level; for metrics: metrics, histogram, vec, info, rate, exposition, merge, samples, exemplar,
// process, runtime, build, catalogue.
package telemetry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// DefaultMaxBytes is the cap on an active log file when none is given.
const DefaultMaxBytes = 1 << 30

// Waits of Sync and Close. A disk that hangs must not hang the process.
const (
	syncTimeout  = 5 * time.Second
	closeTimeout = 5 * time.Second
)

// LogConfig says where a process writes its log.
type LogConfig struct {
	Process string    // "proxy", "engine", "sidecar", …: a field of each line, and the file's name
	Dir     string    // lines go to Dir/Process.log; "" writes no file, and all lines to Stderr
	Level   string    // debug, info, warn or error; "" is info
	Format  string    // of Stderr: json, console, or auto (console on a terminal); "" is auto
	Stderr  io.Writer // also gets what is announced, warnings and errors; nil gets nothing

	// MaxBytes is a hard cap on the file, so that a dead sidecar cannot let it fill
	// the disk: at the cap lines wait for a rotation, then are dropped and counted.
	// 0 is DefaultMaxBytes.
	MaxBytes int64
}

// Log is the log of one process. Logging never blocks on the disk: lines go into a
// bounded buffer, which one goroutine writes out; what does not fit is dropped,
// counted, and seen as a gap in the lines' seq.
type Log struct {
	process string
	boot    string
	level   zap.AtomicLevel
	core    *core
	zap     *zap.Logger
	writer  *writer // nil without a file
	mirror  *mirror // nil without Stderr

	seq   atomic.Uint64 // used without a file only; else the writer counts
	lines [len(levelNames)]atomic.Uint64

	sampled atomic.Uint64 // lines that were left out since they repeated others
}

// levelNames are the values of the label level.
var levelNames = [...]string{"debug", "info", "warn", "error", "fatal"}

// OpenLog opens the log and starts its goroutines. Only one process can write a
// file: while another one holds it, OpenLog waits a little and then fails.
func OpenLog(cfg LogConfig) (*Log, error) {
	level, err := parseLevel(cfg.Level)
	if err != nil {
		return nil, err
	}
	console, err := wantsConsole(cfg.Format, cfg.Stderr)
	if err != nil {
		return nil, err
	}
	l := &Log{process: cfg.Process, boot: newBoot(), level: zap.NewAtomicLevelAt(level)}
	if cfg.Stderr != nil {
		l.mirror = newMirror(cfg.Stderr)
	}
	l.core = newCore(l, console)
	l.zap = zap.New(newSparing(l.core, &l.sampled), zap.ErrorOutput(zapcore.AddSync(io.Discard)))
	if cfg.Dir != "" {
		path := filepath.Join(cfg.Dir, cfg.Process+".log")
		maxBytes := cfg.MaxBytes
		if maxBytes == 0 {
			maxBytes = DefaultMaxBytes
		}
		l.writer, err = newWriter(path, l.boot, maxBytes, true, l.report)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the log: --log-dir=%s: %w", cfg.Dir, err), l.closeMirror())
		}
	}
	return l, nil
}

// Zap returns the logger. A caller on a hot path that wants no garbage uses Check
// and hands Write a slice of fields that it keeps.
func (l *Log) Zap() *zap.Logger { return l.zap }

// Boot is new each time that a process opens its log; each line carries it.
func (l *Log) Boot() string { return l.boot }

// Announce writes a line at level info that also goes to Stderr and that no level
// holds back: start and stop, and what an operator who watches the terminal or
// `kubectl logs` must see.
func (l *Log) Announce(msg string, fields ...zap.Field) {
	l.core.write(zapcore.Entry{Level: zapcore.InfoLevel, Time: time.Now(), Message: msg}, fields, true)
}

// Level returns the level that is in force.
func (l *Log) Level() string { return l.level.Level().String() }

// SetLevel changes the level of the running process: debug, info, warn or error.
func (l *Log) SetLevel(level string) error {
	lv, err := parseLevel(level)
	if err != nil {
		return err
	}
	l.level.SetLevel(lv)
	return nil
}

// Sync returns nil when the write(2) of every line that was accepted before has
// returned. It does not wait for the disk.
func (l *Log) Sync() error {
	if l.writer == nil {
		return nil
	}
	return l.writer.sync(syncTimeout)
}

// Dropped returns how many lines found no room in the buffer.
func (l *Log) Dropped() uint64 {
	if l.writer == nil {
		return 0
	}
	return l.writer.dropped.Load()
}

// Close writes what waits, within a deadline, syncs the file and lets go of it.
// Lines that come later are dropped.
func (l *Log) Close() error {
	var err error
	if l.writer != nil {
		err = l.writer.close(closeTimeout)
	}
	return errors.Join(err, l.closeMirror())
}

func (l *Log) closeMirror() error {
	if l.mirror == nil {
		return nil
	}
	return l.mirror.close(time.Second)
}

// Register declares the log's own series.
func (l *Log) Register(m *Metrics) {
	for i, name := range levelNames {
		m.CounterFunc("semantic_log_lines_total", fmt.Sprintf(`process="%s",level="%s"`, l.process, name),
			"Log lines accepted, by process and level.",
			func() float64 { return float64(l.lines[i].Load()) })
	}
	labels := fmt.Sprintf(`process="%s"`, l.process)
	m.CounterFunc("semantic_log_dropped_total", labels,
		"Log lines dropped because the buffer was full; each leaves a gap in the lines' seq.",
		func() float64 { return float64(l.Dropped()) })
	m.CounterFunc("semantic_log_sampled_total", labels,
		"Warnings and errors left out because a hundred with the same message had been written within the second.",
		func() float64 { return float64(l.sampled.Load()) })
	if l.mirror != nil {
		m.CounterFunc("semantic_log_stderr_dropped_total", labels,
			"Lines that the log file has and stderr does not, because nobody read it fast enough.",
			func() float64 { return float64(l.mirror.dropped.Load()) })
	}
}

// report tells on Stderr what the log itself suffers from, since its file may be
// the very thing that cannot be written.
func (l *Log) report(level zapcore.Level, msg string, fields ...zap.Field) {
	if l.mirror != nil {
		l.core.mirrorLine(zapcore.Entry{Level: level, Time: time.Now(), Message: msg}, 0, fields)
	}
}

func parseLevel(s string) (zapcore.Level, error) {
	switch s {
	case "":
		return zapcore.InfoLevel, nil
	case "debug", "info", "warn", "error":
		return zapcore.ParseLevel(s)
	}
	return 0, fmt.Errorf("--log-level=%s is no level: write debug, info, warn or error", s)
}

func newBoot() string {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
