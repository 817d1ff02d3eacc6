package telemetry

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestALineOfItsWritersOwnIsTheOneThatZapWouldWrite(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	l.Zap().Check(zapcore.InfoLevel, "request").Write(accessFields(nil)...)
	var n Line
	for range 2 { // the second is written where the first one was
		if !l.Begin(&n, zapcore.InfoLevel, "request") {
			t.Fatal("level info is held back")
		}
		accessLine(&n)
		l.End(&n, time.Now())
	}
	syncLog(t, l)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	_, want, _ := strings.Cut(lines[0], `"level":`)
	for i, got := range lines[1:] {
		if _, got, _ := strings.Cut(got, `"level":`); got != want {
			t.Errorf("line %d is\n%s\nwant\n%s", i, got, want)
		}
	}
	if got := parseLines(t, path, string(data)); got[2].Seq != 3 {
		t.Errorf("the third line has seq %d", got[2].Seq)
	}
}

func TestALineOfItsWritersOwnIsJSONWhateverIsInIt(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	for _, text := range []string{"", `"`, `\`, "a\nb\x00", "\xff\xfe", "é世", strings.Repeat(`x"`, 500)} {
		var own Line
		l.Begin(&own, zapcore.InfoLevel, "request")
		own.Text("path", text)
		own.Milliseconds("duration_ms", 1500*time.Nanosecond)
		l.End(&own, time.Now())
		l.Zap().Info("request", zap.String("path", text), zap.Float64("duration_ms", .002))
	}
	syncLog(t, l)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := 0; i < len(lines); i += 2 {
		_, own, _ := strings.Cut(lines[i], `"level":`)
		if _, want, _ := strings.Cut(lines[i+1], `"level":`); own != want {
			t.Errorf("got  %s\nwant %s", own, want)
		}
	}
}

func TestALineOfItsWritersOwnKeepsToLevelAndStderr(t *testing.T) {
	var stderr bytes.Buffer
	l, _ := openTest(t, LogConfig{Stderr: &stderr, Format: "console", Level: "warn"})
	var n Line
	if l.Begin(&n, zapcore.InfoLevel, "request") {
		t.Error("level info is not held back")
	}
	if !l.Begin(&n, zapcore.WarnLevel, "request was slow") {
		t.Fatal("level warn is held back")
	}
	n.Text("path", "/v1/models")
	n.Number("status", 200)
	l.End(&n, time.Now())
	l.Close()
	got := stderr.String()
	for _, part := range []string{"WARN", "proxy", "request was slow", `{"path": "/v1/models", "status": 200}`} {
		if !strings.Contains(got, part) {
			t.Errorf("console line %q lacks %q", got, part)
		}
	}

	var bare bytes.Buffer
	l, err := OpenLog(LogConfig{Process: "proxy", Stderr: &bare, Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	l.Begin(&n, zapcore.InfoLevel, "request")
	n.Number("n", 7)
	l.End(&n, time.Now())
	l.Close()
	if got := parseLines(t, "stderr", bare.String()); len(got) != 1 || got[0].N != 7 || got[0].Seq != 1 || got[0].Msg != "request" {
		t.Errorf("without a folder stderr has %q", bare.String())
	}
}
