package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	fileMode  = 0o600
	lockTime  = 10 * time.Second
	lockPause = 10 * time.Millisecond
)

// lock keeps other commands from changing the file until unlock is called. The lock
// is on a file beside it, since the file itself is replaced. target is where the
// path leads when it is a link, so that the link stays.
func lock(path string) (target string, unlock func(), err error) {
	target = path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		target = real
	}
	f, err := os.OpenFile(target+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return "", nil, fmt.Errorf("cannot lock the key file: %w", err)
	}
	if err := keepOwner(f, target, filepath.Dir(target)); err != nil {
		f.Close()
		return "", nil, fmt.Errorf("cannot lock the key file: %w", err)
	}
	for deadline := time.Now().Add(lockTime); ; time.Sleep(lockPause) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return target, func() { f.Close() }, nil // closing lets the lock go
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		if time.Now().After(deadline) {
			err = fmt.Errorf("another command has held it for %v", lockTime)
			break
		}
	}
	f.Close()
	return "", nil, fmt.Errorf("cannot lock %s: %w", f.Name(), err)
}

// replaceFile puts data in the place of the file, so that whoever reads it, also
// after a crash, sees either the old or the new one.
func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot write the key file: %w", err)
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("cannot write the key file: %w", err)
		}
	}()
	if err := keepOwner(tmp, path, dir); err != nil {
		return err
	}
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// keepOwner gives the new file the owner of the old one, or of the folder: root may
// run the command, and the proxy, which is not root, has to read the file.
func keepOwner(f *os.File, path, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
