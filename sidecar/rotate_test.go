package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

const stamp = "20260102T030405.000000000Z"

// logNumbered writes lines n to n+count-1 of some 150 bytes and waits until they
// are in the file.
func logNumbered(t testing.TB, l *telemetry.Log, n, count int) {
	t.Helper()
	for i := range count {
		l.Zap().Info(strings.Repeat("x", 50), zap.Int("n", n+i))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestLogIsRotatedBySizeAndArchived(t *testing.T) {
	dir := t.TempDir()
	s := startTest(t, testConfig(dir))
	l := openLog(t, dir, "proxy")
	logNumbered(t, l, 0, 1000) // past 64 KiB
	eventually(t, "the log is archived", func() bool {
		found, err := look(dir)
		return err == nil && len(found.archive) == 1 && len(found.rotated) == 0
	})
	logNumbered(t, l, 1000, 10)

	found, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.archive) != 1 || len(found.active) != 1 || len(found.rotated) != 0 || len(found.parts) != 0 {
		t.Fatalf("the folder has %q", names(t, dir))
	}
	all := read(t, found.archive[0].path) + read(t, found.active[0].path)
	for i, line := range strings.Split(strings.TrimSpace(all), "\n") {
		if !strings.HasSuffix(line, fmt.Sprintf(`"n":%d}`, i)) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if got := strings.Count(all, "\n"); got != 1010 {
		t.Errorf("%d lines, want 1010", got)
	}
	if info, err := os.Stat(found.archive[0].path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive has mode %v, want 0600 (%v)", info.Mode(), err)
	}
	_, body := get(t, s, "/metrics")
	if !strings.Contains(body, "\nsemantic_log_rotations_total 1\n") {
		t.Errorf("the rotation is not counted:\n%s", body)
	}
}

func TestSmallLogsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	startTest(t, testConfig(dir))
	l := openLog(t, dir, "proxy")
	logNumbered(t, l, 0, 100)
	time.Sleep(200 * time.Millisecond)
	if got := names(t, dir); !slices.Equal(got, []string{"proxy.log"}) {
		t.Errorf("the folder has %q", got)
	}
}

func TestOnlyItsOwnNamesAreEverTouched(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("foreign line\n", 10_000)
	outside := write(t, t.TempDir(), "outside.log", big)
	foreign := map[string]string{}
	for _, name := range []string{
		"notes.txt", "proxy.log.1", "proxy.log.bak", "proxy.log." + stamp + ".gz", "proxy.log." + stamp + ".zst.old",
		"proxy.log.2026.zst", "proxy.txt." + stamp, "x.part",
	} {
		foreign[name] = big
		write(t, dir, name, big)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "linked.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	write(t, dir, "proxy.log", big)
	cfg := testConfig(dir)
	cfg.Keep = 1
	startTest(t, cfg)
	eventually(t, "the log is archived", func() bool {
		return slices.ContainsFunc(names(t, dir), func(n string) bool {
			return strings.HasPrefix(n, "proxy.log.") && strings.HasSuffix(n, logchain.ArchiveSuffix) && !slices.Contains(before, n)
		})
	})
	time.Sleep(100 * time.Millisecond)
	for _, name := range before {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want, ok := foreign[name]; ok {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s was changed: %v", name, err)
			}
		}
	}
	if read(t, outside) != big {
		t.Error("a file outside of the folder was changed")
	}
}

func TestOldestFilesBeyondTheNumberToKeepGo(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 9 {
		name := fmt.Sprintf("proxy.log.20260102T030405.00000000%dZ", i)
		write(t, dir, name, fmt.Sprintf("line %d\n", i))
		if i >= 6 {
			want = append(want, name+logchain.ArchiveSuffix)
		}
	}
	other := "engine.log." + stamp
	write(t, dir, other, "line\n")
	want = append([]string{other + logchain.ArchiveSuffix}, want...)
	cfg := testConfig(dir)
	cfg.Keep = 3
	s := startTest(t, cfg)
	eventually(t, "the newest three and the other log's are archived", func() bool {
		return slices.Equal(names(t, dir), want)
	})
	_, body := get(t, s, "/metrics")
	if !strings.Contains(body, "\nsemantic_log_files_removed_total{reason=\"count\"} 6\n") {
		t.Errorf("removals are not counted:\n%s", body)
	}
}

func TestStalledWriterIsReportedAndItsFileLeftAlone(t *testing.T) {
	dir := t.TempDir()
	const name, content = "proxy.log." + stamp, "line\npiece"
	path := write(t, dir, name, content)
	held, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ { // newer ones push it out of what is kept
		write(t, dir, fmt.Sprintf("proxy.log.20270102T030405.00000000%dZ", i), "line\n")
	}
	cfg := testConfig(dir)
	cfg.Keep = 2
	s := startTest(t, cfg)
	stalled := func(value string) func() bool {
		return func() bool {
			_, body := get(t, s, "/metrics")
			return strings.Contains(body, "\nsemantic_log_reopen_stalled "+value+"\n")
		}
	}
	eventually(t, "the stall is seen", stalled("1"))
	if _, body := get(t, s, "/health"); !strings.Contains(body, "its writer has not let go of it") {
		t.Errorf("health does not tell: %s", body)
	}
	if got := read(t, path); got != content {
		t.Errorf("the held file is now %q", got)
	}
	held.Close()
	eventually(t, "the stall is over", stalled("0"))
	eventually(t, "the file goes, being too old", func() bool { return !slices.Contains(names(t, dir), name) })
}

func TestStampsRiseThoughTheClockIsSetBack(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var stamps []string
	for i := range 5 {
		found, err := look(dir)
		if err != nil {
			t.Fatal(err)
		}
		next := logchain.NextStamp(found.lastStamp("proxy.log"), now.Add(-time.Duration(i)*time.Hour))
		suffix := []string{"", logchain.ArchiveSuffix}[i%2]
		write(t, dir, "proxy.log."+next+suffix, "")
		stamps = append(stamps, next)
	}
	if stamps[0] != stamp || !slices.IsSorted(stamps) || len(slices.Compact(stamps)) != 5 {
		t.Errorf("stamps %q", stamps)
	}
	found, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := logchain.NextStamp(found.lastStamp("engine.log"), now); got != stamp {
		t.Errorf("another log's stamp is %s", got)
	}
}
