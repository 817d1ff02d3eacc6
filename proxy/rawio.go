package proxy

import (
	"io"

	"golang.org/x/sys/unix"
)

// readNow reads what is there: errMore if nothing is, io.EOF at the end.
func readNow(fd int, b []byte) (int, error) {
	for {
		n, err := rawRead(fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errMore
		case err != 0:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeNow writes what finds room: errMore if there is none.
func writeNow(fd int, b []byte) (int, error) {
	for {
		n, err := rawWrite(fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errMore
		case err != 0:
			return 0, err
		default:
			return n, nil
		}
	}
}
