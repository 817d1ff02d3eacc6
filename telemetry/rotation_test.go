package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// waitReleased opens a rotated file and waits until its writer has let go of it.
func waitReleased(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	eventually(t, "the writer lets go of "+path, func() bool {
		return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	})
}

func TestWriterHoldsItsFileUntilARotation(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	l.Zap().Info("one")
	syncLog(t, l)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	time.Sleep(3 * pathInterval)
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		t.Error("a file that is being written could be locked")
	}
}

func TestIdleWriterFollowsARotation(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	l.Zap().Info("one")
	syncLog(t, l)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	waitReleased(t, path+".1")
	if took := time.Since(start); took > 2*pathInterval {
		t.Errorf("the writer let go after %s", took)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o600 {
		t.Fatalf("no empty new file of mode 0600: %v, %v", info, err)
	}
	l.Zap().Info("two")
	syncLog(t, l)
	if got := readLines(t, path+".1"); len(got) != 1 || got[0].Msg != "one" {
		t.Errorf("the rotated file has %+v", got)
	}
	if got := readLines(t, path); len(got) != 1 || got[0].Msg != "two" || got[0].Seq != 2 {
		t.Errorf("the new file has %+v", got)
	}
}

// The kernel may have no watch left to give.
func TestIdleWriterFollowsARotationByTheClockAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proxy.log")
	w, err := newWriter(path, "boot", DefaultMaxBytes, false, func(zapcore.Level, string, ...zap.Field) {})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close(closeTimeout)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	waitReleased(t, path+".1")
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestRotationUnderLoadLosesAndDoublesNothing(t *testing.T) {
	l, path := openTest(t, LogConfig{})
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
			l.Zap().Info("request", zap.Int("n", n))
			if n%64 == 0 {
				time.Sleep(100 * time.Microsecond) // keep under the buffer's bound
			}
		}
	}()
	var files []string
	for i := range 8 {
		time.Sleep(20 * time.Millisecond)
		old := path + "." + string(rune('a'+i))
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		waitReleased(t, old)
		files = append(files, old)
	}
	close(stop)
	n := <-stopped
	syncLog(t, l)
	var got []line
	for _, file := range append(files, path) {
		got = append(got, readLines(t, file)...)
	}
	if len(got) != n || l.Dropped() != 0 {
		t.Fatalf("%d lines logged, %d in the files, %d dropped", n, len(got), l.Dropped())
	}
	for i, line := range got {
		if line.N != i {
			t.Fatalf("line %d is number %d", i, line.N)
		}
	}
}

func TestWriterOutlivesItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l, path := openTest(t, LogConfig{Dir: dir})
	if err := os.Rename(dir, dir+".gone"); err != nil { // no event tells of this: the clock does
		t.Fatal(err)
	}
	eventually(t, "the writer makes its folder and file again", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
	l.Zap().Info("here")
	syncLog(t, l)
	if got := readLines(t, path); len(got) != 1 {
		t.Errorf("lines %+v, want one", got)
	}
}

// While no new file can be had the old one, whose lock is kept, takes the lines.
func TestRotationThatCannotBeFollowedLosesNothing(t *testing.T) {
	var stderr strings.Builder
	l, path := openTest(t, LogConfig{Stderr: &stderr})
	// A folder takes the file's place in the moment of the rename.
	if err := os.Mkdir(path+".1", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path+".1", unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * pathInterval)
	l.Zap().Info("one")
	syncLog(t, l)
	if got := readLines(t, path+".1"); len(got) != 1 {
		t.Errorf("the old file has %+v, want the line", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	waitReleased(t, path+".1")
	l.Zap().Info("two")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readLines(t, path); len(got) != 1 || got[0].Msg != "two" {
		t.Errorf("the new file has %+v", got)
	}
	if told := strings.Count(stderr.String(), "no new file can be had"); told != 1 {
		t.Errorf("stderr tells it %d times, want once:\n%s", told, stderr.String())
	}
}

func TestPieceOfALineLeftByAKilledWriterIsCutOff(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"piece":           {"{\"seq\":1}\n{\"se", "{\"seq\":1}\n"},
		"whole":           {"{\"seq\":1}\n", "{\"seq\":1}\n"},
		"empty":           {"", ""},
		"only a piece":    {"{\"se", ""},
		"long piece":      {"{\"seq\":1}\n" + strings.Repeat("x", 3*chunkBytes), "{\"seq\":1}\n"},
		"zeros after all": {"{\"seq\":1}\n\x00\x00\x00", "{\"seq\":1}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "proxy.log")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			openTest(t, LogConfig{Dir: dir})
			if got, err := os.ReadFile(path); err != nil || string(got) != c.after {
				t.Errorf("the file begins with %.40q (%d bytes), %v; want %q", got, len(got), err, c.after)
			}
		})
	}
}

func TestCapHoldsWhileNobodyRotates(t *testing.T) {
	const limit = 256 << 10
	var stderr strings.Builder
	l, path := openTest(t, LogConfig{MaxBytes: limit, Stderr: &stderr})
	text := strings.Repeat("x", 100)
	n := 0
	for ; l.Dropped() == 0; n++ {
		if n > 100_000 {
			t.Fatal("100,000 lines went past the cap and the buffer")
		}
		l.Zap().Info(text, zap.Int("n", n))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > limit {
		t.Fatalf("the file has %d bytes, its cap is %d: %v", info.Size(), limit, err)
	}

	// Each rotation makes room for a cap's worth of what waits.
	got := 0
	for i := 0; got < n-1; i++ {
		old := path + "." + string(rune('a'+i))
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		waitReleased(t, old)
		lines := readLines(t, old)
		for j, line := range lines {
			if line.N != got+j {
				t.Fatalf("%s: line %d is number %d, want %d", old, j, line.N, got+j)
			}
		}
		got += len(lines)
		if i > 25 {
			t.Fatalf("%d of %d lines after 26 rotations", got, n-1)
		}
	}
	l.Close()
	if told := strings.Count(stderr.String(), "is the sidecar running?"); told == 0 {
		t.Errorf("stderr does not tell of the cap:\n%s", stderr.String())
	}
}
