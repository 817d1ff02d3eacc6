package logchain

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestSurveyFindsWhatIsInAFile(t *testing.T) {
	const a, b = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	bad := strings.Replace(testLines(b, 5, 1), `"info"`, `"error"`, 1)
	fatal := strings.Replace(testLines(a, 12, 1), `"info"`, `"fatal"`, 1)
	foreign := `{"ts":"yesterday","level":"error","msg":"of another program"}` + "\n"
	long := `{"ts":"2026-11-23T12:45:07.000000006Z","boot":"` + b + `","seq":6,"level":"error","msg":"` + strings.Repeat("x", 100_000) + `"}` + "\n"
	content := testLines(a, 1, 10) + bad + foreign + "\n" + testLines(a, 11, 1) + long + fatal
	want := File{
		Size: int64(len(content)), SHA256: hashLine([]byte(content)), Lines: 16, Unlisted: 2,
		Writers: []Writer{{a, 1, 12, 12}, {b, 5, 6, 2}},
	}
	for _, step := range []int{1, 7, 100, 64 << 10, len(content)} {
		errors := ""
		s := NewSurvey(func(line []byte) error { errors += string(line); return nil })
		for rest := content; rest != ""; rest = rest[min(step, len(rest)):] {
			if _, err := s.Write([]byte(rest[:min(step, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.File(); !reflect.DeepEqual(got, want) {
			t.Errorf("in parts of %d: %+v, want %+v", step, got, want)
		}
		if errors != bad+long+fatal {
			t.Errorf("in parts of %d: %d bytes of error lines, want %d", step, len(errors), len(bad+long+fatal))
		}
	}
}

func TestSurveyHoldsOnlySoMuch(t *testing.T) {
	s := NewSurvey(func([]byte) error { t.Error("a line that was cut is given out"); return nil })
	part := []byte(strings.TrimSuffix(strings.Replace(testLines(boot, 1, 1), "info", "error", 1), "}\n") + strings.Repeat("x", 1<<20))
	for range 3 * maxLineHeld / len(part) {
		s.Write(part)
	}
	if len(s.held) > maxLineHeld {
		t.Errorf("%d bytes of a line are held", len(s.held))
	}
	s.Write([]byte("\n"))
	for i := range 3 * maxWriters {
		s.Write([]byte(testLines(strings.Replace(boot, "0", fmt.Sprintf("%04d", i), 1)[:16], 1, 1)))
	}
	if f := s.File(); len(f.Writers) != maxWriters || f.Lines != 1+3*maxWriters || f.Unlisted != 1+2*maxWriters {
		t.Errorf("%d writers, %d lines, %d of them of no writer", len(f.Writers), f.Lines, f.Unlisted)
	}
}

func TestLineHeadIsReadOrRefused(t *testing.T) {
	good := testLines(boot, 123, 1)
	l, ok := ParseLine([]byte(good))
	if !ok || string(l.Time) != "2026-11-23T12:45:07.000000123Z" || string(l.Boot) != boot || l.Seq != 123 || string(l.Level) != "info" {
		t.Errorf("%v: %s %s %d %s", ok, l.Time, l.Boot, l.Seq, l.Level)
	}
	for i := range len(`{"ts":"2026-11-23T12:45:07.000000123Z","boot":"0123456789abcdef","seq":123,"level":"info"`) {
		ParseLine([]byte(good[:i])) // must not panic
		if _, ok := ParseLine([]byte(good[:i])); ok {
			t.Errorf("%s is taken", good[:i])
		}
	}
}
