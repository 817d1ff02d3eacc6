package sidecar

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ownerName is the file whose lock makes a sidecar the only one of its log folder.
const ownerName = "sidecar.lock"

// ownership is the right to touch a folder's files of one kind. It is tried for before
// each look, so that a sidecar that starts while another one ends takes over by itself.
type ownership struct {
	path string
	what string // that is owned

	mu    sync.Mutex
	f     *os.File // locked; nil while it is not ours
	terms uint64   // how many times it became ours
}

func newOwnership(dir, name, what string) *ownership {
	return &ownership{path: filepath.Join(dir, name), what: what}
}

// hold takes the lock or makes sure that it is still on the file at the path. The
// term that it returns is another one whenever somebody else may have been at the
// folder in between.
func (o *ownership) hold() (term uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f != nil {
		if sameFile(o.f, o.path) {
			return o.terms, nil
		}
		o.f.Close() // somebody removed it, and another sidecar may hold a new one
		o.f = nil
	}
	f, err := os.OpenFile(o.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, fmt.Errorf("cannot own %s: %w", o.what, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another sidecar looks after it")
		}
		return 0, fmt.Errorf("cannot own %s: %s: %w", o.what, o.path, err)
	}
	o.f = f
	o.terms++
	return o.terms, nil
}

// release lets another sidecar take over.
func (o *ownership) release() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f == nil {
		return nil
	}
	err := o.f.Close()
	o.f = nil
	return err
}

func sameFile(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Stat(path)
	return err == nil && os.SameFile(ours, at)
}
