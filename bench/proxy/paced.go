package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// paced is a load that asks at its own pace, whatever the answers take: a request is
// due at its time, and its latency counts from then. wrk cannot do that, nor talk to
// the backend's Unix socket.
type paced struct {
	network, address string
	path, key, body  string
	connections      int
	rate             float64 // requests a second
	duration         time.Duration
}

type pacedConn struct {
	fd    int
	since int64 // when its request was due
	want  int   // bytes of the answer that are missing; 0 until its head was read
	got   []byte
}

// run returns the latency of each request, in microseconds.
func (l paced) run() ([]float64, error) {
	poll, done, err := ownPoller()
	if err != nil {
		return nil, err
	}
	defer done()
	idle, conns := make([]*pacedConn, 0, l.connections), map[int]*pacedConn{}
	for range l.connections {
		fd, err := connect(l.network, l.address)
		if err != nil {
			return nil, err
		}
		defer shut(fd)
		c := &pacedConn{fd: fd}
		idle, conns[fd] = append(idle, c), c
		if err := poll.add(fd); err != nil {
			return nil, err
		}
	}
	request := rawRequest(l.path, l.key, l.body)
	step := int64(float64(time.Second) / l.rate)
	begin := monotonic()
	total := int(l.duration.Seconds() * l.rate)
	samples := make([]float64, 0, total)
	for sent := 0; len(samples) < total; {
		now := monotonic()
		if now > begin+int64(l.duration)+int64(10*time.Second) {
			return nil, fmt.Errorf("%d of %d requests were answered in time", len(samples), total)
		}
		for ; sent < total && len(idle) > 0 && begin+int64(sent)*step <= now; sent++ {
			c := idle[0] // the one that rested longest, so that all are used
			idle = idle[1:]
			c.since = begin + int64(sent)*step
			if n, err := unix.Write(c.fd, request); err != nil || n < len(request) {
				return nil, fmt.Errorf("cannot send: %w", err)
			}
		}
		wait := time.Second
		if sent < total && len(idle) > 0 {
			wait = max(0, time.Duration(begin+int64(sent)*step-monotonic()))
		}
		fds, err := poll.wait(wait)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			c := conns[fd]
			done, err := c.read()
			if err != nil {
				return nil, err
			}
			if done {
				samples = append(samples, float64(monotonic()-c.since)/1000)
				idle = append(idle, c)
			}
		}
	}
	return samples, nil
}

// read takes what came and reports whether the answer is whole.
func (c *pacedConn) read() (bool, error) {
	var buf [32 << 10]byte
	n, err := unix.Read(c.fd, buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return false, nil
	}
	if n <= 0 {
		return false, fmt.Errorf("connection closed by the other end: %w", err)
	}
	if c.want == 0 {
		c.got = append(c.got, buf[:n]...)
		head, after, ok := bytes.Cut(c.got, []byte("\r\n\r\n"))
		if !ok {
			return false, nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
			return false, fmt.Errorf("answered %q", c.got)
		}
		c.want = lengthOf(head) - len(after)
		c.got = c.got[:0]
	} else {
		c.want -= n
	}
	return c.want == 0, nil
}

func lengthOf(head []byte) int {
	i := bytes.Index(bytes.ToLower(head), []byte("content-length: "))
	if i < 0 {
		return -1
	}
	return member(head[i:], ": ")
}

func rawRequest(path, key, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, key, len(body), body)
}

// connect opens a connection that does not block.
func connect(network, address string) (int, error) {
	domain, to := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: address})
	if network == "tcp" {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			return 0, err
		}
		in := &unix.SockaddrInet4{Port: a.Port}
		copy(in.Addr[:], a.IP.To4())
		domain, to = unix.AF_INET, in
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, to); err != nil {
		shut(fd)
		return 0, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	if network == "tcp" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return fd, unix.SetNonblock(fd, true)
}

// What is asked for: a small chat, and one of 1 KB.
var (
	smallBody = `{"model":"bench","max_tokens":20,"messages":[{"role":"user","content":"Name the capital of Italy."}]}`
	largeBody = `{"model":"bench","max_tokens":20,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 186) + `"}]}`
)
