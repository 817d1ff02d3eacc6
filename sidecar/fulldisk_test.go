package sidecar

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// A small tmpfs is the full disk, in the mount namespace of a child process; see
// the test of the same name in telemetry.
func TestFullDiskDelaysArchivingAndLosesNothing(t *testing.T) { onSmallDisk(t, "full disk") }

func TestOldestFilesGoWhenTheDiskIsFull(t *testing.T) { onSmallDisk(t, "no room") }

// onSmallDisk plays the role; it gets a folder to mount at and one beside.
func onSmallDisk(t *testing.T, role string) {
	t.Helper()
	if out := inOwnMounts(t, role, t.TempDir(), t.TempDir()); string(out) != "ok\n" {
		t.Fatalf("%s", out)
	}
}

// mountSmall puts a tmpfs at dir, seen by this process alone.
func mountSmall(dir, size string) {
	must(syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
	must(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
}

// ballastName is the file that fills a disk.
const ballastName = "ballast"

// fill takes all room that is left, to the last byte, and returns what gives it back.
func fill(dir string) (ballast string) {
	ballast = filepath.Join(dir, ballastName)
	f, err := os.Create(ballast)
	must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	return ballast
}

// incompressible returns lines of as many bytes at least.
func incompressible(size int) string {
	var content strings.Builder
	for content.Len() < size {
		fmt.Fprintf(&content, "%x\n", rand.Uint64())
	}
	return content.String()
}

// fillPage lets the manifest end where a page of the disk does, so that no tombstone
// has room behind it unless room was set aside.
func fillPage(dir string, m *logchain.Manifest) {
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, logchain.FileName))
		must(err)
		return info.Size()
	}
	note := func(length int64) {
		must(m.Append(logchain.Entry{Kind: logchain.Shipped, Time: time.Now().Truncate(time.Second), To: strings.Repeat("x", int(length))}))
	}
	before := size()
	note(10)
	after := size()
	note(2*4096 - after%4096 - (after - before - 10))
	if size()%4096 != 0 {
		panic(fmt.Sprintf("the manifest has %d bytes", size()))
	}
}

// playNoRoom keeps a part of the volume free on a disk that somebody else filled:
// the oldest files go, each with its tombstone, for which there is room.
func playNoRoom(dir, logDir string) {
	mountSmall(dir, "8m")
	var want []string
	for i := range 6 {
		name := fmt.Sprintf("proxy.log.20260102T030405.00000000%dZ", i)
		must(os.WriteFile(filepath.Join(dir, name), []byte(incompressible(512<<10)), 0o600))
		if i >= 4 {
			want = append(want, name+logchain.ArchiveSuffix)
		}
	}
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: logDir})
	must(err)
	cfg := testConfig(dir)
	cfg.MinFree = 900 << 10
	s, err := New(cfg, log)
	must(err)
	must(s.Start())
	waitFor("the files are archived", func() bool { return len(names(panicking{}, dir)) == 6 && s.ledger.state().Count == 7 })
	fillPage(dir, s.ledger.current())
	fill(dir)
	waitFor("the oldest went", func() bool {
		got := names(panicking{}, dir)
		return len(got) < 7 && slices.Equal(got[len(got)-2:], want)
	})
	time.Sleep(10 * cfg.CheckInterval) // no more than must
	r, err := logchain.Verify(context.Background(), dir, logchain.Expect{})
	must(err)
	if len(r.Faults) > 0 || r.Removed < 2 || r.Removed+r.Files != 6 {
		panic(fmt.Sprintf("%+v in a folder of %q", r, names(panicking{}, dir)))
	}
	var fs syscall.Statfs_t
	must(syscall.Statfs(dir, &fs))
	if free := int64(fs.Bavail) * fs.Bsize; free < int64(cfg.MinFree) || free > int64(cfg.MinFree)+512<<10 {
		panic(fmt.Sprintf("%d bytes are free", free)) // too few, or more than the last file had to give
	}
	fmt.Println("ok")
	os.Exit(0)
}

// playFullDisk archives a log for whose copy there is no room at first.
func playFullDisk(dir, logDir string) {
	mountSmall(dir, "4m")
	content := incompressible(1 << 20)
	must(os.WriteFile(filepath.Join(dir, "proxy.log"), []byte(content), 0o600))
	ballast := fill(dir)

	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: logDir})
	must(err)
	s, err := New(testConfig(dir), log)
	must(err)
	must(s.Start())
	waitFor("the failure is told", func() bool {
		state := s.archive.duty.state(time.Now())
		return strings.Contains(state.Error, "no space left on device")
	})
	found, err := look(dir)
	must(err)
	if len(found.rotated) != 1 || len(found.archive) != 0 || found.rotated[0].size != int64(len(content)) {
		panic(fmt.Sprintf("on the full disk there is %+v", found))
	}
	must(os.Remove(ballast))
	waitFor("the log is archived", func() bool {
		found, err := look(dir)
		return err == nil && len(found.archive) == 1 && len(found.rotated) == 0 && len(found.parts) == 0
	})
	found, err = look(dir)
	must(err)
	if read(panicking{}, found.archive[0].path) != content {
		panic("the archive says something else")
	}
	fmt.Println("ok")
	os.Exit(0)
}

func waitFor(what string, is func() bool) { eventually(panicking{}, what, is) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// panicking lets the helpers of the tests be used outside of one.
type panicking struct{ testing.TB }

func (panicking) Helper() {}

func (panicking) Cleanup(func()) {}

func (panicking) Context() context.Context { return context.Background() }

func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (panicking) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
