package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Reason is why an agent was not written, or why its file is not served. It is also the label of
// the counter.
type Reason string

// Why an agent was not written.
const (
	NoSpace  Reason = "no_space" // the disk is full
	Quota    Reason = "quota"    // --cache-disk has no room, whatever is evicted
	Deadline Reason = "deadline" // the write's time was up
	IO       Reason = "io"       // the system refused for another reason
	Invalid  Reason = "invalid"  // the agent itself cannot be stored, such as for a name too long
)

// Why a file is not served. It is put aside and counted.
const (
	Torn          Reason = "torn"           // shorter or longer than it says, or zeros
	Checksum      Reason = "checksum"       // not what was written
	ForeignModel  Reason = "foreign_model"  // another model's, in this model's folder
	ForeignTenant Reason = "foreign_tenant" // another tenant's or agent's, under this one's name
	ForeignKey    Reason = "foreign_key"    // written with another key, or without one
	Version       Reason = "version"        // of the format, in the folder of this one
)

// WriteReasons and FileReasons list the reasons of each kind.
var (
	WriteReasons = []Reason{NoSpace, Quota, Deadline, IO, Invalid}
	FileReasons  = []Reason{Torn, Checksum, ForeignModel, ForeignTenant, ForeignKey, Version}
)

// WriteError is why an agent was not written. The one that was on disk before still is.
type WriteError struct {
	Reason Reason
	Err    error
}

func (e *WriteError) Error() string {
	switch e.Reason {
	case NoSpace:
		return fmt.Sprintf("cannot write the agent: the disk of --cache-dir is full: %v", e.Err)
	case Deadline:
		return fmt.Sprintf("cannot write the agent in time: %v", e.Err)
	}
	return fmt.Sprintf("cannot write the agent: %v", e.Err)
}

func (e *WriteError) Unwrap() error { return e.Err }

// FileError is why a file is not served.
type FileError struct {
	Reason Reason
	What   string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("the agent's file is bad (%s): %s", e.Reason, e.What)
}

func bad(r Reason, what string) error { return &FileError{Reason: r, What: what} }

// asFileError returns the *FileError in err, if there is one.
func asFileError(err error) (*FileError, bool) { return errors.AsType[*FileError](err) }

// writeError gives an error of a write its reason. Errors that are no failure stay as they are.
func writeError(err error) error {
	if err == nil || errors.Is(err, ErrDeleted) || errors.Is(err, ErrClosed) {
		return err
	}
	if we, ok := errors.AsType[*WriteError](err); ok {
		return we
	}
	reason := IO
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		reason = NoSpace
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		reason = Deadline
	}
	return &WriteError{Reason: reason, Err: err}
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
