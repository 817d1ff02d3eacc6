package sidecar

import (
	"fmt"
	"math/rand/v2"

	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// died is what a step panics with where the sidecar is to die.
type died struct{}

// newTestArchiver returns an archiver that is called pass by pass.
func newTestArchiver(t testing.TB, cfg Config) *Sidecar {
	t.Helper()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar"}) // to nowhere
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ledger.close(); s.owner.release() })
	return s
}

// passUntil runs a pass that ends before its nth step; see passTo.
func passUntil(t testing.TB, cfg Config, n int) (step string) {
	return passTo(t, cfg, func(string) bool { n--; return n == 0 })
}

// passTo runs a pass that ends before the step that is the last, as if the process
// were killed there: what is in memory is lost, what the kernel has stays. It names
// the step, "" if the pass went to its end.
func passTo(t testing.TB, cfg Config, last func(step string) bool) (step string) {
	t.Helper()
	s := newTestArchiver(t, cfg)
	defer func() {
		s.ledger.close()
		s.owner.release()
		if r := recover(); r != nil && r != (died{}) {
			panic(r)
		}
	}()
	s.archive.at = func(now string) {
		if last(now) {
			step = now
			panic(died{})
		}
	}
	if err := s.archive.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ""
}

// crashFolder has what makes a pass go through all of its steps: files to compress,
// to remove compressed and plain, and to adopt, with error lines in most.
func crashFolder(t testing.TB) (_ string, cfg Config, errors []string) {
	t.Helper()
	dir := inMemory(t)
	cfg = testConfig(dir)
	cfg.Keep, cfg.RetainErrors = 2, Age(30*day)
	for i := range 5 {
		var text strings.Builder
		for n := range 4 {
			level := "info"
			if n == 2 && i != 1 {
				level = "error"
			}
			line := fmt.Sprintf(`{"ts":"2026-01-02T03:04:05.%09dZ","boot":"0123456789abcdef","seq":%d,"level":"%s","msg":"x"}`, i, i*4+n+1, level)
			text.WriteString(line + "\n")
			if level == "error" {
				errors = append(errors, line)
			}
		}
		write(t, dir, fmt.Sprintf("proxy.log.20260102T030405.00000000%dZ", i), text.String()+`{"ts":"torn`)
	}
	write(t, dir, "engine.log."+stamp, "a line of another program\n")
	return dir, cfg, errors
}

// Wherever the sidecar dies, and dies again when it goes on, the end is the same.
// Of the second deaths a few are tried after each first one.
func TestEveryStepMayBeTheLast(t *testing.T) {
	seen := map[string]bool{}
	steps, step := 0, "begin"
	for first := 1; step != ""; first++ {
		for _, second := range []int{1, 2 + rand.IntN(38)} {
			dir, cfg, errors := crashFolder(t)
			if step = passUntil(t, cfg, first); step == "" {
				checkCrashFolder(t, dir, cfg, errors, "without a crash")
				break
			}
			again := passUntil(t, cfg, second)
			checkCrashFolder(t, dir, cfg, errors, fmt.Sprintf("after %d steps (%s) and %d more (%s)", first, step, second, again))
			if t.Failed() {
				return
			}
			seen[step], seen[again], steps = true, true, first
		}
	}
	t.Logf("%d steps", steps)
	for _, step := range []string{"begin", "survey", "copy errors", "sync errors", "compress", "verify", "name", "list", "let go", "tombstone", "remove", "clear"} {
		if !seen[step] {
			t.Errorf("no crash was before the step %q", step)
		}
	}
}

// checkCrashFolder lets two passes finish what is left and looks at what came of it.
func checkCrashFolder(t testing.TB, dir string, cfg Config, errors []string, when string) {
	t.Helper()
	for range 2 {
		passUntil(t, cfg, -1)
	}
	got := names(t, dir)
	if len(got) != 4 || got[0] != "engine.log."+stamp+logchain.ArchiveSuffix || !strings.HasPrefix(got[1], "proxy.errors.log.") ||
		got[2] != "proxy.log.20260102T030405.000000003Z.zst" || got[3] != "proxy.log.20260102T030405.000000004Z.zst" {
		t.Fatalf("%s the folder has %q", when, got)
	}
	lines := strings.Split(strings.TrimSuffix(read(t, filepath.Join(dir, got[1])), "\n"), "\n")
	slices.Sort(lines)
	if !slices.Equal(lines, errors) {
		t.Errorf("%s the error lines are\n%s\nwant\n%s", when, strings.Join(lines, "\n"), strings.Join(errors, "\n"))
	}
	r, err := logchain.Verify(t.Context(), dir, logchain.Expect{})
	if err != nil || len(r.Faults) > 0 || len(r.Notices) > 0 {
		t.Errorf("%s verify finds %v %v, %v", when, r.Faults, r.Notices, err)
	}
	if r.Files != 3 || r.Removed != 3 {
		t.Errorf("%s %d files are proved and %d were removed, want 3 and 3", when, r.Files, r.Removed)
	}
}

// A file of error lines that a crash left with lines that no entry vouches for is
// archived without them, and they are copied again.
func TestErrorLinesOfACrashAreNotArchived(t *testing.T) {
	dir, cfg, errors := crashFolder(t)
	verifies := 0
	passTo(t, cfg, func(step string) bool {
		if step == "verify" {
			verifies++
		}
		return verifies == 2 // the first one is of the log without error lines
	})
	s := newTestArchiver(t, cfg)
	now := s.archive.now
	s.archive.now = func() time.Time { return now().Add(2 * errorSpan) }
	for range 2 {
		if err := s.archive.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := ""
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, "proxy.errors.log.") {
			all += read(t, filepath.Join(dir, name))
		}
	}
	lines := strings.Split(strings.TrimSuffix(all, "\n"), "\n")
	slices.Sort(lines)
	if !slices.Equal(lines, errors) {
		t.Errorf("the error lines are\n%s\nwant\n%s", all, strings.Join(errors, "\n"))
	}
	if r, err := logchain.Verify(t.Context(), dir, logchain.Expect{}); err != nil || len(r.Faults) > 0 {
		t.Errorf("verify finds %v, %v", r.Faults, err)
	}
}
