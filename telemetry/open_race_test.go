package telemetry

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Between opening and locking a file it may be renamed, taken and removed. Whoever
// then writes to it loses the line, so a writer has to look again.
func TestFileTakenBetweenOpeningAndLockingIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "proxy.log")
	taken := 0
	takeAway := func(to string) {
		f, err := os.OpenFile(to, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Error(err)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			t.Error(err)
		}
		taken += strings.Count(string(data), "\n")
		os.Remove(to)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			to := path + "." + strconv.Itoa(i)
			if os.Rename(path, to) == nil {
				takeAway(to)
			}
		}
	})
	written := 0
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); written++ {
		f, err := openLogFile(path, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.append([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
		if err := f.f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	if os.Rename(path, path+".last") == nil {
		takeAway(path + ".last")
	}
	if taken != written {
		t.Errorf("%d lines were written and %d are there", written, taken)
	}
}
