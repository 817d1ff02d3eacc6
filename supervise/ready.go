package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// What the supervisor tells a child: which descriptor to write to when it is up, and how often
// it was started again.
const (
	readyEnv    = "SUPERVISE_READY_FD"
	restartsEnv = "SUPERVISE_RESTARTS"
)

// Restarts is how often the supervisor started this process again; nil without a supervisor.
func Restarts() *int {
	n, err := strconv.Atoi(os.Getenv(restartsEnv))
	if err != nil || n < 0 {
		return nil
	}
	return &n
}

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
