package unixsock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	lockTime  = 5 * time.Second
	lockPause = 10 * time.Millisecond
)

// lockFolder makes the folder if it is missing and holds an exclusive lock on it
// until unlock is called. The lock spans the look at a path and the act on it, so
// that nobody removes a socket that another process bound in between.
func lockFolder(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockTime); ; time.Sleep(lockPause) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // closing lets the lock go
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		if time.Now().After(deadline) {
			err = fmt.Errorf("another process has held the lock for %s", lockTime)
			break
		}
	}
	f.Close()
	return nil, fmt.Errorf("cannot lock the folder %s: %w", dir, err)
}
