package sidecar

import (
	"bufio"
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// settled is when what only a start needs has been done.
const settled = 10 * time.Second

// letGoOfStart gives back the memory that only the start needed: garbage, and the pages of
// the binary that it ran through once. A page that is needed again comes from the page cache.
func letGoOfStart(ctx context.Context, log *zap.Logger) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settled):
	}
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/smaps")
	if err == nil {
		defer maps.Close()
		for _, m := range ownPages(bufio.NewScanner(maps)) {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
				err = errno
			}
		}
	}
	if err != nil {
		log.Info("pages that only the start needed stay resident", zap.Error(err))
	}
}

// span is a range of addresses.
type span struct{ from, to uintptr }

// ownPages lists the parts of the binary that nothing can have written to: what is in
// them is what the file says.
func ownPages(smaps *bufio.Scanner) (list []span) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	var m span
	for smaps.Scan() {
		line := strings.Fields(smaps.Text())
		switch {
		case len(line) >= 5 && strings.Contains(line[0], "-"):
			m = span{}
			if strings.HasPrefix(line[1], "r-") && strings.HasSuffix(smaps.Text(), exe) {
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
