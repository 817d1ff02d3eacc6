package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// openPatience is how long a start waits for another process to let go of the
// file: the one before us may still be ending.
const openPatience = 3 * time.Second

// errHeld says that another process writes the file.
var errHeld = errors.New("another process writes it")

// logFile is a log file that this process alone writes, opened for appending and
// held by a shared lock. Between calls it ends at a line's end.
type logFile struct {
	f    *os.File
	info os.FileInfo // tells it from another file at its path
	path string
	size int64 // of the whole lines in it
	torn bool  // a part of a line stands behind them
}

// openLogFile opens or creates the file and takes the lock. An exclusive lock comes
// first, for a moment: it shows that nobody else writes, so that the piece of a
// line which a killed writer may have left can be cut off.
func openLogFile(path string, patience time.Duration) (*logFile, error) {
	giveUp := time.Now().Add(patience)
	for {
		file, err := tryOpen(path)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, errHeld) && !errors.Is(err, errReplaced) || !time.Now().Before(giveUp) {
			return nil, fmt.Errorf("cannot open %s: %w", path, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// errReplaced says that the file was renamed between its opening and its locking.
var errReplaced = errors.New("it is being rotated")

func tryOpen(path string) (_ *logFile, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if err := lock(f, unix.LOCK_EX); err != nil {
		return nil, err
	}
	size, _, err := CutTornLine(f)
	if err != nil {
		return nil, err
	}
	if err := lock(f, unix.LOCK_SH); err != nil {
		return nil, err
	}
	file := &logFile{f: f, info: info, path: path, size: size}
	if file.renamed() {
		return nil, errReplaced
	}
	return file, nil
}

func lock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return err
}

// CutTornLine cuts the file after its last line's end, and returns its size then
// and how many bytes went. They are a piece of a line whose write was killed
// half-way, and that was never acknowledged. The caller holds the exclusive lock.
func CutTornLine(f *os.File) (size, cut int64, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	whole, err := lastLineEnd(f, end)
	if err != nil || whole == end {
		return whole, 0, err
	}
	return whole, end - whole, f.Truncate(whole)
}

// lastLineEnd returns the offset after the last line feed before end.
func lastLineEnd(f *os.File, end int64) (int64, error) {
	buf := make([]byte, chunkBytes)
	for end > 0 {
		start := max(0, end-int64(len(buf)))
		part := buf[:end-start]
		if _, err := f.ReadAt(part, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// append writes lines with one write(2) and returns how many bytes of whole lines
// are in the file now. After an error no piece of a line is left behind, or the
// next append fails until it can be cut off.
func (l *logFile) append(lines []byte) (int, error) {
	if l.torn {
		if err := l.f.Truncate(l.size); err != nil {
			return 0, err
		}
		l.torn = false
	}
	n, err := l.f.Write(lines)
	if err == nil {
		l.size += int64(n)
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	l.size += int64(whole)
	if whole < n {
		l.torn = l.f.Truncate(l.size) != nil
	}
	return whole, err
}

// renamed reports whether the path names another file than ours, or none. When it
// cannot be told, it is not.
func (l *logFile) renamed() bool {
	at, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	return err == nil && !os.SameFile(l.info, at)
}

// close syncs the file and lets it and its lock go.
func (l *logFile) close() error {
	var cut error
	if l.torn {
		cut = l.f.Truncate(l.size)
	}
	return errors.Join(cut, l.f.Sync(), l.f.Close())
}
