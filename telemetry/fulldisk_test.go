package telemetry

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// A small tmpfs is the full disk. It is mounted in a mount namespace of a child
// process, so that nothing of it outlives the test, and in a user namespace too
// where the tests do not run as root.
func TestFullDiskTearsNoLineAndLosesNoneThatWasAccepted(t *testing.T) {
	cmd := role("full disk", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.Output()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("cannot start a process in a mount namespace (needs root, or user namespaces allowed by the kernel): %v", err)
	}
	if err != nil || string(out) != "ok\n" {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk is the child: it logs onto a full disk, gives room, and checks.
func fillDisk() {
	defer func() {
		if r := recover(); r != nil {
			fmt.Println(r)
			os.Exit(1)
		}
	}()
	dir := os.Args[1]
	must(syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
	must(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"))
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "proxy.log")
	must(os.WriteFile(ballast, make([]byte, 7<<20), 0o600))
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: dir})
	must(err)

	// 40,000 lines of some 200 bytes: more than the disk and the buffer hold.
	text := strings.Repeat("x", 80)
	for i := range 40_000 {
		l.Zap().Info(text, zap.Int("n", i))
	}
	time.Sleep(3 * pathInterval)
	if l.Dropped() == 0 {
		panic("nothing was dropped: the disk was not full")
	}
	atFull := checkDiskLines(path)
	must(os.Remove(ballast))
	must(l.Sync())
	l.Zap().Info("room again")
	must(l.Close())

	after := checkDiskLines(path)
	if after[len(after)-1].Msg != "room again" || len(after) <= len(atFull)+1 {
		panic(fmt.Sprintf("%d lines while full, %d after", len(atFull), len(after)))
	}
	if gaps := after[len(after)-1].Seq - uint64(len(after)); gaps != l.Dropped() {
		panic(fmt.Sprintf("%d lines are missing and %d were counted as dropped", gaps, l.Dropped()))
	}
	fmt.Println("ok")
	os.Exit(0)
}

// checkDiskLines reads the file, which must be of whole lines with a rising seq.
func checkDiskLines(path string) []line {
	data, err := os.ReadFile(path)
	must(err)
	lines := parseLines(panicking{}, path, string(data))
	for i := 1; i < len(lines); i++ {
		if lines[i].Seq <= lines[i-1].Seq {
			panic(fmt.Sprintf("line %d has seq %d after %d", i+1, lines[i].Seq, lines[i-1].Seq))
		}
	}
	return lines
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// panicking lets the helpers of the tests be used outside of one.
type panicking struct{ testing.TB }

func (panicking) Helper() {}

func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
