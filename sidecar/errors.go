package sidecar

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
)

// errorSpan is how long a file of error lines grows before it is archived.
const errorSpan = 24 * time.Hour

// errorSink copies the error lines of one rotated file behind those of earlier
// ones. The rotated file's entry in the manifest says how far they go; whatever
// stands behind that was left by a crash, and is cut off before the next ones come:
// so each file's lines are copied exactly once.
type errorSink struct {
	archiver *archiver
	log      string // "proxy.errors.log"
	mayLose  bool   // a full disk is no reason to fail

	f     *os.File // opened at the first line; nil before
	w     *bufio.Writer
	name  string
	made  bool
	end   int64
	lines uint64
	lost  uint64
	full  bool
}

// taker returns what takes a line; nil when no lines are copied.
func (s *errorSink) taker() func([]byte) error {
	if s == nil {
		return nil
	}
	return s.take
}

func (s *errorSink) take(line []byte) error {
	if s.f == nil && !s.full {
		if err := s.tolerate(s.open()); err != nil {
			return err
		}
	}
	if s.full {
		s.lost++
		return nil
	}
	if _, err := s.w.Write(line); err != nil {
		return s.tolerate(err)
	}
	s.end += int64(len(line))
	s.lines++
	return nil
}

// tolerate lets a full disk pass if lines may be lost to it. Those of this file that
// were copied count as lost too, since it cannot be told which of them are whole.
func (s *errorSink) tolerate(err error) error {
	if err == nil || !s.mayLose || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	s.full = true
	s.lost, s.lines = s.lost+s.lines, 0
	return nil
}

// open finds the file that still grows, or begins one.
func (s *errorSink) open() error {
	a := s.archiver
	found, err := look(a.dir)
	if err != nil {
		return err
	}
	for _, f := range found.rotated {
		if f.log == s.log && a.stillGrows(f) {
			s.name = f.name() // the newest one
		}
	}
	if s.name == "" {
		s.made = true
		s.name = logchain.Name{Log: s.log, Stamp: a.manifest.Stamp(s.log, found.lastStamp(s.log), a.now())}.String()
	}
	s.end, _ = a.manifest.ErrorsEnd(s.name)
	a.at("copy errors")
	f, err := os.OpenFile(filepath.Join(a.dir, s.name), os.O_WRONLY|os.O_CREATE, archiveMode)
	if err != nil {
		return err
	}
	s.f, s.w = f, bufio.NewWriterSize(f, 64<<10)
	if err := f.Truncate(s.end); err != nil {
		return err
	}
	_, err = f.Seek(s.end, io.SeekStart)
	return err
}

// finish puts the lines onto the disk and notes them in what is to be listed.
func (s *errorSink) finish(what *logchain.File) error {
	if s == nil {
		return nil
	}
	if s.f != nil && !s.full {
		err := s.w.Flush()
		if err == nil {
			s.archiver.at("sync errors")
			err = s.f.Sync()
		}
		if err == nil && s.made {
			err = logchain.SyncFolder(s.archiver.dir)
		}
		if err := s.tolerate(err); err != nil {
			return err
		}
	}
	what.Lost = s.lost
	if s.lines > 0 {
		what.Errors, what.ErrorsTo, what.ErrorsEnd = s.lines, s.name, s.end
	}
	return nil
}

// abandon closes the file. Lines that were not finished are cut off by the next sink.
func (s *errorSink) abandon() {
	if s.f != nil {
		s.f.Close()
	}
}

// stillGrows reports whether the file takes error lines yet and is not archived.
func (a *archiver) stillGrows(f file) bool {
	if !logchain.HoldsErrors(f.log) {
		return false
	}
	begun, ok := logchain.StampTime(f.stamp)
	end, known := a.manifest.ErrorsEnd(f.name())
	info, err := os.Stat(f.path)
	whole := err == nil && end <= info.Size() // else somebody cut it, and nothing is put behind the gap
	return ok && known && whole && end < a.errorBytes && a.now().Sub(begun) < errorSpan
}
