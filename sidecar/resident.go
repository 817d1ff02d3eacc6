package sidecar

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	settled  = 10 * time.Second // when what only a start needs has been done
	letAgain = time.Minute
)

// letGoLoop gives back, once the start has settled, the memory that only it needed, and
// then what was needed once since: garbage, and whole neighbourhoods of a page.
func letGoLoop(ctx context.Context, log *zap.Logger) {
	told := false
	for pause := settled; ; pause = letAgain {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := letGo(); err != nil && !told {
			told = true
			log.Info("memory that is not needed stays resident", zap.Error(err))
		}
	}
}

// letGo gives back garbage, and the pages of the binary that were run through once. A
// page that is needed again comes from the page cache, without a read of the disk.
func letGo() error {
	debug.FreeOSMemory()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range ownPages(string(smaps)) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, errno)
		}
	}
	return errors.Join(errs...)
}

// span is a range of addresses.
type span struct{ from, to uintptr }

// ownPages lists the parts of the binary that nothing can have written to: what is in
// them is what the file says.
func ownPages(smaps string) (list []span) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	var m span
	for text := range strings.Lines(smaps) {
		line := strings.Fields(text)
		switch {
		case len(line) >= 5 && strings.Contains(line[0], "-"):
			m = span{}
			if strings.HasPrefix(line[1], "r-") && strings.HasSuffix(text, " "+exe+"\n") {
				m = parseSpan(line[0])
			}
		case len(line) == 3 && line[0] == "Anonymous:" && line[1] == "0" && m.to > 0:
			list = append(list, m)
		}
	}
	return list
}

func parseSpan(text string) span {
	low, high, _ := strings.Cut(text, "-")
	from, errFrom := strconv.ParseUint(low, 16, 64)
	to, errTo := strconv.ParseUint(high, 16, 64)
	if errFrom != nil || errTo != nil {
		return span{}
	}
	return span{uintptr(from), uintptr(to)}
}
