//go:build race

package proxy

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// The race detector sees by these calls, and not by raw ones, that what was done before
// a message was sent was done before it was received.

func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, err := syscall.Read(fd, b)
	return n, numberOf(err)
}

func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, err := syscall.Write(fd, b)
	return n, numberOf(err)
}

func numberOf(err error) (e unix.Errno) {
	_ = errors.As(err, &e)
	return e
}
