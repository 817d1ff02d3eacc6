package store

import (
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
)

// fileSystem is every call by which the store changes or reads the disk, so that tests can let
// each of them fail or be the last.
type fileSystem interface {
	MkdirAll(path string) error
	ReadDir(path string) ([]fs.DirEntry, error)
	Open(path string) (file, error)
	Create(path string) (file, error)
	Rename(from, to string) error
	Remove(path string) error
	SetTime(path string, t time.Time) error
	SyncFolder(path string) error
}

type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Stat() (fs.FileInfo, error)
}

// disk is the real file system.
type disk struct{}

func (disk) MkdirAll(path string) error { return os.MkdirAll(path, folderMode) }

func (disk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

func (disk) Open(path string) (file, error) {
	return opened(os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0))
}

func (disk) Create(path string) (file, error) {
	return opened(os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode))
}

// opened keeps a nil *os.File from becoming a file that is not nil.
func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) Rename(from, to string) error { return os.Rename(from, to) }

func (disk) Remove(path string) error { return os.Remove(path) }

func (disk) SetTime(path string, t time.Time) error { return os.Chtimes(path, t, t) }

// SyncFolder makes the names in a folder last. Without it a rename may not survive a power cut.
func (disk) SyncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
