package telemetry

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestLinesCarryTimeBootAndARisingSeq(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	before := time.Now()
	for i := range 1000 {
		l.Zap().Info("request", zap.Int("n", i))
	}
	syncLog(t, l)
	lines := readLines(t, path)
	if len(lines) != 1000 {
		t.Fatalf("%d lines, want 1000", len(lines))
	}
	for i, got := range lines {
		ts, err := time.Parse(time.RFC3339Nano, got.TS)
		if err != nil || ts.Before(before) || ts.After(time.Now()) || len(got.TS) != len("2006-01-02T15:04:05.000000000Z") {
			t.Fatalf("ts %q is no time of this test with nine digits: %v", got.TS, err)
		}
		want := line{TS: got.TS, Boot: l.Boot(), Seq: uint64(i + 1), Level: "info", Msg: "request", Process: "proxy", N: i}
		if got != want {
			t.Fatalf("line %d is %+v, want %+v", i, got, want)
		}
	}
}

func TestFieldsStandInTheOrderOfTheSchema(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	l.Zap().With(zap.String("request_id", "r")).Warn(`slow "disk"`, zap.Error(errors.New("no\tspace")), zap.Bool("again", true))
	l.Zap().With(zap.String("request_id", "r")).Info("plain", zap.Duration("age", 1500*time.Millisecond))
	syncLog(t, l)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`,"boot":"` + l.Boot() + `","seq":1,"level":"warn","msg":"slow \"disk\"","process":"proxy","request_id":"r","error":"no\tspace","again":true}`,
		`,"boot":"` + l.Boot() + `","seq":2,"level":"info","msg":"plain","process":"proxy","request_id":"r","age":"1.5s"}`,
	} {
		got := strings.Split(string(data), "\n")[i]
		if head := `{"ts":"2006-01-02T15:04:05.000000000Z"`; got[len(head):] != want {
			t.Errorf("line is\n%s\nwant after the time\n%s", got, want)
		}
	}
}

// The plain fields are written by our own encoder; it must not be told from zap's.
func TestPlainFieldsReadAsZapWritesThem(t *testing.T) {
	var all strings.Builder
	for c := range 256 {
		all.WriteByte(byte(c)) // from 128 on no UTF-8
	}
	fields := []zap.Field{
		zap.String("empty", ""), zap.String("bytes", all.String()), zap.String("text", "é 漢字 🙂 \u2028 \"q\" \\ \r\n\t\x00\x7f"),
		zap.String("cut", "ab\xf0\x9f\x99"), zap.String("replacement", "\uFFFD"), zap.String(`key "quoted"`, "x"),
		zap.Int("int", math.MinInt64), zap.Uint64("uint", math.MaxUint64), zap.Int8("int8", -8), zap.Uint16("uint16", 16),
		zap.Float64("float", 0.1), zap.Float64("large", 1e30), zap.Float64("nan", math.NaN()),
		zap.Float64("inf", math.Inf(1)), zap.Float64("minus inf", math.Inf(-1)), zap.Float64("zero", math.Copysign(0, -1)),
		zap.Bool("yes", true), zap.Bool("no", false), zap.Duration("d", 3*time.Millisecond), zap.Skip(),
	}
	l, _ := openTest(t, LogConfig{})
	for i := range fields {
		e := zapcore.Entry{Level: zapcore.ErrorLevel, Message: fields[i].String}
		ours := l.core.appendTail(nil, e, fields[i:i+1])
		zaps, err := l.core.json.EncodeEntry(e, fields[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		if want := zaps.Bytes()[1:]; !bytes.Equal(ours, want) {
			t.Errorf("field %q:\nours %s\nzaps %s", fields[i].Key, ours, want)
		}
	}
}

func TestLevelChangesWhileRunning(t *testing.T) {
	l, path := openTest(t, LogConfig{Level: "warn"})
	logger := l.Zap().With(zap.Int("n", 1)) // made before the change, and obeys it all the same
	logger.Info("hidden")
	if err := l.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	logger.Debug("shown")
	if err := l.SetLevel("loud"); err == nil || !strings.Contains(err.Error(), "--log-level=loud") {
		t.Errorf("a bad level gave %v, want an error that names the flag", err)
	}
	if l.Level() != "debug" {
		t.Errorf("a bad level changed the level to %s", l.Level())
	}
	syncLog(t, l)
	if got := readLines(t, path); len(got) != 1 || got[0].Msg != "shown" {
		t.Errorf("lines %+v, want only the one after the change", got)
	}
}

func TestStderrGetsAnnouncementsWarningsAndErrors(t *testing.T) {
	var stderr bytes.Buffer
	l, path := openTest(t, LogConfig{Stderr: &stderr, Format: "json", Level: "warn"})
	l.Zap().Info("hidden")
	l.Announce("started", zap.Int("n", 7))
	l.Zap().Error("broken")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if stderr.String() != string(file) {
		t.Errorf("stderr has\n%sthe file has\n%s", stderr.String(), file)
	}
	if got := parseLines(t, "stderr", stderr.String()); len(got) != 2 || got[0].N != 7 || got[1].Level != "error" {
		t.Errorf("stderr has %+v, want the announcement and the error", got)
	}
}

func TestConsoleFormatIsForPeople(t *testing.T) {
	var stderr bytes.Buffer
	l, _ := openTest(t, LogConfig{Stderr: &stderr, Format: "console"})
	l.Zap().Warn("disk is slow", zap.Int("ms", 12))
	l.Close()
	got := stderr.String()
	for _, part := range []string{"WARN", "proxy", "disk is slow", `{"ms": 12}`} {
		if !strings.Contains(got, part) {
			t.Errorf("console line %q lacks %q", got, part)
		}
	}
	if strings.Contains(got, l.Boot()) {
		t.Errorf("console line %q has a field that is for machines", got)
	}
}

func TestWithoutAFolderAllLinesGoToStderr(t *testing.T) {
	var stderr bytes.Buffer
	l, err := OpenLog(LogConfig{Process: "serve", Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	l.Zap().Info("one")
	l.Zap().Info("two")
	syncLog(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := parseLines(t, "stderr", stderr.String()); len(got) != 2 || got[1].Seq != 2 || got[1].Process != "serve" {
		t.Errorf("stderr has %+v", got)
	}
}

func TestStderrThatNobodyReadsHoldsNothingUp(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	l, path := openTest(t, LogConfig{Stderr: w})
	start := time.Now()
	const lines = 10_000 // 1 MiB and more: the pipe and the mirror hold less
	for i := range lines {
		l.Zap().Warn(strconv.Itoa(i)+" is the number of a warning that is long enough to fill a pipe", zap.Int("n", i))
	}
	syncLog(t, l)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("logging took %s with a full stderr", took)
	}
	if got := len(readLines(t, path)); got != lines {
		t.Errorf("the file has %d lines, want %d", got, lines)
	}
	m := NewMetrics("proxy")
	l.Register(m)
	if dropped := metricValue(t, m, `semantic_log_stderr_dropped_total{process="proxy"}`); dropped == 0 {
		t.Error("no line of stderr was counted as dropped")
	}
	if dropped := metricValue(t, m, `semantic_log_dropped_total{process="proxy"}`); dropped != 0 {
		t.Errorf("%v lines of the file were counted as dropped", dropped)
	}
}

func TestLinesAreCountedByLevel(t *testing.T) {
	l, _ := openTest(t, LogConfig{})
	l.Zap().Debug("not at this level")
	l.Zap().Info("one")
	l.Zap().Info("two")
	l.Zap().Error("three")
	m := NewMetrics("proxy")
	l.Register(m)
	for level, want := range map[string]float64{"debug": 0, "info": 2, "warn": 0, "error": 1, "fatal": 0} {
		series := fmt.Sprintf(`semantic_log_lines_total{process="proxy",level="%s"}`, level)
		if got := metricValue(t, m, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

func TestLinesAfterCloseAreDroppedAndCounted(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	l.Zap().Info("kept")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Zap().Info("late")
	if got := readLines(t, path); len(got) != 1 || got[0].Msg != "kept" {
		t.Errorf("lines %+v, want the one before Close", got)
	}
	if l.Dropped() != 1 {
		t.Errorf("%d dropped, want 1", l.Dropped())
	}
	if err := l.Close(); err != nil {
		t.Errorf("a second Close gave %v", err)
	}
}

func TestOpenSaysWhichFlagIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "proxy.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  LogConfig
		want string
	}{
		{LogConfig{Level: "loud"}, "--log-level=loud"},
		{LogConfig{Format: "xml"}, "--log-format=xml"},
		{LogConfig{Dir: filepath.Join(file, "logs")}, "--log-dir=" + file},
		{LogConfig{Dir: dir}, "proxy.log"},
	} {
		c.cfg.Process = "proxy"
		l, err := OpenLog(c.cfg)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v gave %v, want an error with %q", c.cfg, err, c.want)
		}
	}
}

func TestASecondProcessWaitsForTheFileAndThenFails(t *testing.T) {
	dir := t.TempDir()
	cmd := role("hold", dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	if said, err := bufio.NewReader(stdout).ReadString('\n'); said != "held\n" {
		t.Fatalf("the holder said %q, %v", said, err)
	}
	if l, err := OpenLog(LogConfig{Process: "proxy", Dir: dir}); err == nil || !errors.Is(err, errHeld) {
		t.Fatalf("a file that another process writes was opened: %v, %v", l, err)
	}
	var ended atomic.Bool
	go func() {
		time.Sleep(100 * time.Millisecond)
		ended.Store(true)
		cmd.Process.Kill()
	}()
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: dir})
	if err != nil {
		t.Fatalf("after the holder's end: %v", err)
	}
	if !ended.Load() {
		t.Error("the file was had before the holder let go")
	}
	l.Close()
}
