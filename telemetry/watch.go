package telemetry

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// renameWatch lets the kernel tell when the file being written is renamed or
// removed, so that an idle process need not wake ten times a second to look.
type renameWatch struct {
	f     *os.File // of inotify
	fd    int      // the same; File.Fd might make its reads block a thread
	told  chan<- struct{}
	ended sync.WaitGroup
	wd    int // of the file that is watched; -1 for none
}

// newRenameWatch starts a watch that signals told. There may be none to be had:
// the system limits their number.
func newRenameWatch(told chan<- struct{}) (*renameWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot watch for renames: %w", err)
	}
	w := &renameWatch{f: os.NewFile(uintptr(fd), "inotify"), fd: fd, told: told, wd: -1}
	w.ended.Go(w.read)
	return w, nil
}

// follow watches this file and no longer the one before. Its inode is watched, not
// its path: a rename that was quicker than we is seen by looking once after this.
func (w *renameWatch) follow(file *os.File) error {
	if w.wd >= 0 {
		_, _ = unix.InotifyRmWatch(w.fd, uint32(w.wd)) // it may be gone with its file
	}
	var err error
	w.wd, err = unix.InotifyAddWatch(w.fd, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), unix.IN_MOVE_SELF|unix.IN_ATTRIB)
	return err
}

// read passes on that something happened; what it was is seen from the path.
func (w *renameWatch) read() {
	buf := make([]byte, 16*(unsafe.Sizeof(unix.InotifyEvent{})+unix.NAME_MAX+1))
	for {
		if _, err := w.f.Read(buf); err != nil {
			return // closed
		}
		signal(w.told)
	}
}

func (w *renameWatch) close() {
	w.f.Close()
	w.ended.Wait()
}
