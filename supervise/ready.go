package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// readyEnv tells a child which descriptor to write to when it is up.
const readyEnv = "SUPERVISE_READY_FD"

// NotifyReady tells the supervisor, if there is one, that this process is up.
func NotifyReady() error {
	text, ok := os.LookupEnv(readyEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(readyEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return fmt.Errorf("cannot tell the supervisor that we are up: %s=%q is no descriptor", readyEnv, text)
	}
	f := os.NewFile(uintptr(fd), "ready")
	defer f.Close()
	if _, err := f.Write([]byte{'1'}); err != nil {
		return fmt.Errorf("cannot tell the supervisor that we are up: %w", err)
	}
	return nil
}

// readiness is what came of waiting for a child to be up.
type readiness int

const (
	isUp readiness = iota
	isGone
	isLate
)

// awaitReady waits until the child writes to its end of the pipe, or closes it by
// leaving, or the time is up.
func awaitReady(r *os.File, timeout time.Duration) readiness {
	_ = r.SetReadDeadline(time.Now().Add(timeout))
	var b [1]byte
	switch _, err := r.Read(b[:]); {
	case err == nil:
		return isUp
	case errors.Is(err, os.ErrDeadlineExceeded):
		return isLate
	}
	return isGone
}
