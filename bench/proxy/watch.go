package main

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// watched is many streams read by one thread.
type watched struct {
	network, address, key string
	streams               int
	interval              time.Duration // between the chunks of one
	warm, duration        time.Duration
	during                func() // called when measuring begins, and when it ends
}

// run returns how long each chunk was on its way, in microseconds, of those that
// came while it measured.
func (w watched) run() ([]float64, error) {
	poll, done, err := ownPoller()
	if err != nil {
		return nil, err
	}
	defer done()
	chunks := int((w.warm+w.duration+rampOf(w.streams))/w.interval) + 2
	body := fmt.Sprintf(`{"model":"bench","prompt":"tell","stream":true,"max_tokens":%d,"chunks":%d,"interval_ms":%d}`,
		chunks, chunks, w.interval.Milliseconds())
	request := rawRequest(pathStream, w.key, body)
	var fds []int
	defer func() {
		for _, fd := range fds {
			shut(fd)
		}
	}()
	var samples []float64
	begin := time.Now()
	ramp := rampOf(w.streams)
	start, end := begin.Add(ramp+w.warm), begin.Add(ramp+w.warm+w.duration)
	state := 0
	for {
		now := time.Now()
		// Streams begin evenly over the ramp, so that their chunks come evenly.
		for len(fds) < w.streams && now.Sub(begin) >= ramp*time.Duration(len(fds))/time.Duration(w.streams) {
			fd, err := connect(w.network, w.address)
			if err != nil {
				return nil, err
			}
			fds = append(fds, fd)
			if err := poll.add(fd); err != nil {
				return nil, err
			}
			if _, err := unix.Write(fd, request); err != nil {
				return nil, fmt.Errorf("cannot ask for a stream: %w", err)
			}
		}
		if state == 0 && now.After(start) || state == 1 && now.After(end) {
			w.during()
			if state++; state == 2 {
				return samples, nil
			}
		}
		ready, err := poll.wait(time.Millisecond)
		if err != nil {
			return nil, err
		}
		for _, fd := range ready {
			if samples, err = readChunks(fd, samples, state == 1); err != nil {
				return nil, err
			}
		}
	}
}

// rampOf is over how long the streams begin.
func rampOf(streams int) time.Duration { return time.Duration(streams) * 400 * time.Microsecond }

// readChunks takes what came of a stream.
func readChunks(fd int, samples []float64, count bool) ([]float64, error) {
	var buf [16 << 10]byte
	n, err := unix.Read(fd, buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return samples, nil
	}
	if n <= 0 {
		return nil, fmt.Errorf("a stream was closed by the other end: %w", err)
	}
	now := monotonic()
	for rest := buf[:n]; ; {
		i := bytes.Index(rest, []byte(`"t":`))
		if i < 0 {
			break
		}
		sent := int64(0)
		digits := rest[i+len(`"t":`):]
		for _, c := range digits[:min(19, len(digits))] {
			sent = sent*10 + int64(c-'0')
		}
		if count && len(digits) >= 19 {
			samples = append(samples, float64(now-sent)/1000)
		}
		rest = digits
	}
	if bytes.Contains(buf[:n], []byte(`"error"`)) || bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 4")) || bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 5")) {
		return nil, fmt.Errorf("a stream failed: %q", buf[:n])
	}
	return samples, nil
}
