package main

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// volley asks for readiness on many connections at the same moment, again and again.
type volley struct {
	address     string
	connections int
	every       time.Duration
	duration    time.Duration
}

// run returns how long each answer took from the moment of its volley, in microseconds.
func (v volley) run() ([]float64, error) {
	poll, done, err := ownPoller()
	if err != nil {
		return nil, err
	}
	defer done()
	var fds []int
	for range v.connections {
		fd, err := connect("tcp", v.address)
		if err != nil {
			return nil, err
		}
		defer shut(fd)
		if err := poll.add(fd); err != nil {
			return nil, err
		}
		fds = append(fds, fd)
	}
	var samples []float64
	for begin := time.Now(); time.Since(begin) < v.duration; time.Sleep(v.every) {
		if samples, err = v.fire(&poll, fds, samples); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// fire sends one volley and waits for its answers.
func (v volley) fire(poll *poller, fds []int, samples []float64) ([]float64, error) {
	request, buf := []byte("GET /health/ready HTTP/1.1\r\nHost: bench\r\n\r\n"), make([]byte, 4096)
	since := monotonic()
	for _, fd := range fds {
		if n, err := unix.Write(fd, request); err != nil || n < len(request) {
			return nil, fmt.Errorf("cannot send: %w", err)
		}
	}
	for left := len(fds); left > 0; {
		if monotonic()-since > int64(10*time.Second) {
			return nil, fmt.Errorf("%d of %d probes were not answered in time", left, len(fds))
		}
		ready, err := poll.wait(time.Second)
		if err != nil {
			return nil, err
		}
		for _, fd := range ready {
			n, err := unix.Read(fd, buf)
			if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
				return nil, fmt.Errorf("a probe: %q %w", buf[:max(n, 0)], err)
			}
			samples = append(samples, float64(monotonic()-since)/1000)
			left--
		}
	}
	return samples, nil
}
