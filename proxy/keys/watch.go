package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// largestFile bounds the key file: some fifty thousand keys.
const largestFile = 32 << 20

// version tells one state of a file from another; that of no file is zero.
type version struct {
	device, inode uint64
	size          int64
	mode          uint32
	written       syscall.Timespec
	changed       syscall.Timespec // also by a new mode or owner, which may be what was wrong
}

func versionOf(info fs.FileInfo) version {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return version{size: info.Size()}
	}
	return version{device: st.Dev, inode: st.Ino, size: st.Size, mode: st.Mode, written: st.Mtim, changed: st.Ctim}
}

// file is a key file as it was read.
type file struct {
	version version
	data    []byte
}

// errChanging says that somebody was writing the file while it was read.
var errChanging = errors.New("the key file changed while it was read")

// readFile reads the file in one state, refusing what anybody may have written.
func readFile(path string) (file, error) {
	// Not blocking, in case that the path is that of a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return file{version: look(path)}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return file{}, err
	}
	out := file{version: versionOf(info)}
	switch {
	case !info.Mode().IsRegular():
		return out, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o022 != 0:
		return out, fmt.Errorf("%s can be written by others than its owner (mode %04o), who could add keys: chmod 600 %s", path, info.Mode().Perm(), path)
	case info.Size() > largestFile:
		return out, fmt.Errorf("%s is larger than %d MiB", path, largestFile>>20)
	}
	if out.data, err = io.ReadAll(io.LimitReader(f, largestFile+1)); err != nil {
		return out, err
	}
	after, err := f.Stat()
	if err != nil {
		return out, err
	}
	if versionOf(after) != out.version || int64(len(out.data)) != info.Size() {
		return out, errChanging
	}
	return out, nil
}

// warning says what is wrong with the file's mode, if anything is.
func (f *file) warning() string {
	if f.version.mode&0o044 == 0 {
		return ""
	}
	return fmt.Sprintf("the key file can be read by others than its owner (mode %04o): chmod 600 is enough", f.version.mode&0o777)
}

// look is the version of the file at path.
func look(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	return versionOf(info)
}

// Watch reads the file again whenever it has changed, until ctx ends. It waits until
// the file has kept still from one look to the next: an editor that writes in place
// leaves a file for a moment that is shorter, and perhaps valid.
func (s *Store) Watch(ctx context.Context) {
	if s.cfg.File == "" {
		return
	}
	ticker := time.NewTicker(s.cfg.Every)
	defer ticker.Stop()
	last := s.lastSeen()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := look(s.cfg.File)
		if now != s.lastSeen() && now == last {
			s.reload()
		}
		last = now
	}
}

func (s *Store) lastSeen() version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}
