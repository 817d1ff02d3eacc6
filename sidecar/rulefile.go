package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/semantic-pod/semantic/logchain"
)

const (
	ruleFileName = "semantic.rules.yml"
	// None of these matches *.yml, so that Prometheus does not read them.
	ruleFilePart   = ".semantic.rules.part"
	ruleFileBefore = ".semantic.rules.before" // what was there before a file that is not proved
	ruleFileOwner  = ".semantic.rules.lease"
)

// ruleFile is our file in Prometheus's folder. One sidecar at a time looks after it.
// While a new one is not accepted, what was there before lies beside it, so that
// whoever comes after a crash can put it back.
type ruleFile struct {
	dir, path, before string
	lease             *ownership
	term              uint64 // in which recover was done
}

func newRuleFile(dir string) *ruleFile {
	return &ruleFile{
		dir: dir, path: filepath.Join(dir, ruleFileName), before: filepath.Join(dir, ruleFileBefore),
		lease: newOwnership(dir, ruleFileOwner, "the rules of this --rules-dir"),
	}
}

// hold takes the lease. Whoever had it before may have died with a file that was not
// proved: that is put back first.
func (f *ruleFile) hold() error {
	term, err := f.lease.hold()
	if err != nil || term == f.term {
		return err
	}
	if _, err := os.Stat(f.before); err == nil {
		if err := f.putBack(); err != nil {
			return fmt.Errorf("cannot put back the rules that were there before a crash: %w", err)
		}
	}
	f.term = term
	return nil
}

// holds reports whether the file has this text.
func (f *ruleFile) holds(text []byte) (bool, error) {
	got, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read the rules: %w", err)
	}
	return bytes.Equal(got, text), nil
}

// replace writes the file, and before that what was there to where it survives us.
// An empty one says that there was none.
func (f *ruleFile) replace(text []byte) error {
	old, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.write(f.before, old); err != nil {
		return err
	}
	return f.write(f.path, text)
}

// putBack undoes replace.
func (f *ruleFile) putBack() error {
	old, err := os.ReadFile(f.before)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		err = f.write(f.path, old)
	} else if err = os.Remove(f.path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	return f.settle()
}

// settle makes what replace wrote the file to go back to.
func (f *ruleFile) settle() error {
	if err := os.Remove(f.before); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return logchain.SyncFolder(f.dir)
}

// write puts a file in its place as a whole, readable by Prometheus's user.
func (f *ruleFile) write(path string, text []byte) error {
	part := filepath.Join(f.dir, ruleFilePart)
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		os.Remove(part)
		return err
	}
	return logchain.SyncFolder(f.dir)
}

func (f *ruleFile) release() error { return f.lease.release() }
