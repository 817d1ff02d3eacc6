//go:build unix

package gguf

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file for reading. release drops its resident pages, which come back from the
// file when they are read again.
func mapFile(path string) (data []byte, unmap, release func() error, err error) {
	info, err := os.Stat(path) // before opening: a named pipe would wait there for a writer
	if err != nil {
		return nil, nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, nil, fmt.Errorf("%s is not a regular file (%v)", path, info.Mode().Type())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, nil, nil, err
	}
	if info.Size() == 0 {
		return nil, nil, nil, fmt.Errorf("%s is empty: %w", path, ErrNotGGUF)
	}
	data, err = unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("cannot map %s: %w", path, err)
	}
	unmap = func() error { return unix.Munmap(data) }
	release = func() error { return unix.Madvise(data, unix.MADV_DONTNEED) }
	return data, unmap, release, nil
}
