// Package unixsock listens on a Unix socket that one process owns at a time.
//
// The socket has mode 0600 and its folder, when made here, 0700. What is found at
// the path is judged before anything is removed: a socket that answers belongs to
// a live process, one that refuses is stale and goes, and anything else is an
// error. Close removes the socket only while it is still the one that was bound.
//
// Read: unixsock, folder, peer.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	socketMode  = 0o600
	folderMode  = 0o700
	probeTime   = time.Second // to connect to a socket that was found at the path
	maxPathSize = 107         // bytes that sun_path holds beside its zero
)

// ErrHeld marks the error of a path whose socket a live process answers.
var ErrHeld = errors.New("a live process holds it")

// Listener is a listening Unix socket.
type Listener struct {
	*net.UnixListener
	path string
	id   fileID

	closing  sync.Once
	closeErr error
}

// fileID tells two files apart that had the same path at different times.
type fileID struct{ device, inode uint64 }

// Listen binds path and listens. Of two processes that start at once, one wins
// and the other gets an error that wraps ErrHeld.
func Listen(path string) (*Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the socket %s: %w", path, err)
	}
	return l, nil
}

func listen(path string) (*Listener, error) {
	if len(path) > maxPathSize {
		return nil, fmt.Errorf("the path has %d bytes and the system takes %d: choose a shorter --socket-dir", len(path), maxPathSize)
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := makeWay(path); err != nil {
		return nil, err
	}
	return bind(path)
}

// makeWay removes a stale socket, or says why it must not.
func makeWay(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("a %s is there, which is no socket: move it away or change --socket-dir", fileKind(info.Mode()))
	}
	conn, err := net.DialTimeout("unix", path, probeTime)
	if err == nil {
		defer conn.Close()
		return fmt.Errorf("%w: %s; stop that process or change --socket-dir", ErrHeld, peerName(conn))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		// A full backlog or a missing right says nothing about the owner's death.
		return fmt.Errorf("a socket is there and cannot be told to be stale: %w", err)
	}
	return os.Remove(path)
}

func bind(path string) (*Listener, error) {
	// The mode is set before the name exists, so that there is no moment at which
	// another user could connect. Linux gives it to the name, less the umask.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), socketMode) }); e != nil {
			return e
		}
		return err
	}}
	bound, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l := bound.(*net.UnixListener)
	l.SetUnlinkOnClose(false) // Close looks first whose socket it is
	fail := func(err error) (*Listener, error) {
		return nil, errors.Join(err, os.Remove(path), l.Close())
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return fail(err)
	}
	id, err := identify(path)
	if err != nil {
		return fail(err)
	}
	return &Listener{UnixListener: l, path: path, id: id}, nil
}

// Close stops listening and removes the socket, unless another took its path.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		l.closeErr = errors.Join(l.remove(), l.UnixListener.Close())
	})
	return l.closeErr
}

func (l *Listener) remove() error {
	unlock, err := lockFolder(filepath.Dir(l.path))
	if err != nil {
		return err
	}
	defer unlock()
	id, err := identify(l.path)
	if err != nil || id != l.id {
		return nil // it is gone, or it is no longer ours
	}
	return os.Remove(l.path)
}

func identify(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fileID{}, err
	}
	return fileID{st.Dev, st.Ino}, nil
}

func fileKind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "plain file"
	case fs.ModeDir:
		return "folder"
	case fs.ModeSymlink:
		return "symbolic link"
	}
	return "special file"
}
