package sidecar

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/logchain"
)

// rotatedAt makes a rotated file of the log with as many bytes and returns its name
// when it is archived.
func rotatedAt(t testing.TB, dir, log string, at time.Time, bytes int) string {
	t.Helper()
	name := logchain.Name{Log: log, Stamp: logchain.Stamp(at)}.String()
	write(t, dir, name, strings.Repeat("x", bytes-1)+"\n")
	return name + logchain.ArchiveSuffix
}

// passes runs passes as the sidecar does.
func passes(t testing.TB, s *Sidecar, n int) {
	t.Helper()
	for range n {
		if err := s.archive.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func proved(t testing.TB, dir string) logchain.Report {
	t.Helper()
	r, err := logchain.Verify(t.Context(), dir, logchain.Expect{})
	if err != nil || len(r.Faults) > 0 {
		t.Errorf("verify finds %v, %v", r.Faults, err)
	}
	return r
}

func TestFilesGoAtTheirAge(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cfg := testConfig(dir)
	cfg.MaxAge = Age(30 * day)
	var want []string
	for i, age := range []time.Duration{31 * day, 30*day + time.Hour, 29 * day, 0, -day} { // one of a clock that was ahead
		if name := rotatedAt(t, dir, "proxy.log", now.Add(-age), 10+i); i >= 2 {
			want = append(want, name)
		}
	}
	s := newTestArchiver(t, cfg)
	passes(t, s, 2)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if r := proved(t, dir); r.Removed != 2 || r.Files != 3 {
		t.Errorf("%+v", r)
	}
	s.archive.now = func() time.Time { return now.Add(2 * day) }
	passes(t, s, 1)
	if got := names(t, dir); !slices.Equal(got, want[1:]) {
		t.Errorf("two days later the folder has %q, want %q", got, want[1:])
	}
}

func TestOldestOfAllLogsGoBeyondTheBytes(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cfg := testConfig(dir)
	cfg.RotateBytes, cfg.MaxBytes = 100, 10_000
	errors := rotatedAt(t, dir, logchain.ErrorsLog("proxy.log"), now.Add(-10*time.Hour), 2000)
	var want []string
	for i := range 10 {
		log := []string{"proxy.log", "engine.log"}[i%2]
		name := rotatedAt(t, dir, log, now.Add(time.Duration(i-10)*time.Hour), 2000)
		if i >= 6 {
			want = append(want, strings.TrimSuffix(name, logchain.ArchiveSuffix))
		}
	}
	want = append(want, strings.TrimSuffix(errors, logchain.ArchiveSuffix))
	slices.Sort(want)
	s := newTestArchiver(t, cfg)
	found, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.archive.manifest, err = s.ledger.hold(now); err != nil {
		t.Fatal(err)
	}
	if err := s.archive.retain(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if got := totalSize(found.rotated...); got != 10_000 {
		t.Errorf("%d bytes are left", got)
	}
	proved(t, dir)

	// When nothing else is left the error lines go too.
	s.archive.limits.bytes = 1000
	if err := s.archive.retain(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("the folder has %q", got)
	}
	if r := proved(t, dir); r.Removed != 11 {
		t.Errorf("%+v", r)
	}
}

func TestErrorLinesOutliveTheirFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.Keep, cfg.RetainErrors = 1, Age(365*day)
	s := newTestArchiver(t, cfg)
	l := openLog(t, dir, "proxy")
	now := time.Now()
	s.archive.now = func() time.Time { return now }
	var want []string
	for i := range 5 {
		l.Zap().Info("of no interest")
		l.Zap().Warn("neither")
		if i != 2 {
			l.Zap().Error(fmt.Sprintf("error %d", i))
			want = append(want, fmt.Sprintf("error %d", i))
		}
		logNumbered(t, l, 0, 1000) // past 64 KiB
		now = now.Add(20 * day)
		if err := s.rotator.check(now); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the file is archived", func() bool {
			err := s.archive.pass(t.Context())
			found, errLook := look(dir)
			return err == nil && errLook == nil && !slices.ContainsFunc(found.rotated, func(f file) bool { return f.log == "proxy.log" })
		})
	}
	got := errorLines(t, dir)
	if !slices.EqualFunc(got, want, func(line, msg string) bool {
		return strings.Contains(line, `"level":"error","msg":"`+msg+`"`)
	}) {
		t.Errorf("error lines %q, want %q", got, want)
	}
	if body := exposition(t, s); !strings.Contains(body, "\nsemantic_log_error_lines_kept_total 4\n") || !strings.Contains(body, "\nsemantic_log_error_lines_lost_total 0\n") {
		t.Errorf("the lines are not counted:\n%s", body)
	}
	if r := proved(t, dir); r.Removed != 4 {
		t.Errorf("%+v", r)
	}
	now = now.Add(300 * day)
	passes(t, s, 2)
	if got := errorLines(t, dir); len(got) != 3 { // they were copied 380, 360, 320 and 300 days ago
		t.Errorf("after 300 days error lines %q", got)
	}
	now = now.Add(100 * day)
	passes(t, s, 2)
	if got := errorLines(t, dir); len(got) != 0 {
		t.Errorf("after 400 days error lines %q", got)
	}
	proved(t, dir)
}

// errorLines reads all files of error lines.
func errorLines(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	for _, name := range names(t, dir) {
		if n, ok := logchain.ParseName(name); ok && logchain.HoldsErrors(n.Log) {
			lines = append(lines, strings.Split(strings.TrimSuffix(read(t, filepath.Join(dir, name)), "\n"), "\n")...)
		}
	}
	return lines
}

func exposition(t testing.TB, s *Sidecar) string {
	t.Helper()
	var b strings.Builder
	if _, err := s.metrics.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNoErrorLinesAreKeptApartIfNotAskedFor(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.RetainErrors = 0
	write(t, dir, "proxy.log."+stamp, strings.Replace(lineAt(time.Now()), "info", "error", 1))
	passes(t, newTestArchiver(t, cfg), 2)
	if got := names(t, dir); !slices.Equal(got, []string{"proxy.log." + stamp + logchain.ArchiveSuffix}) {
		t.Errorf("the folder has %q", got)
	}
}
