package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"golang.org/x/sys/unix"
)

// Where the backend is asked for what.
const (
	pathSmall  = "/v1/chat/completions" // 200 bytes of JSON
	pathLarge  = "/v1/messages"         // 10 KB of JSON
	pathStream = "/v1/completions"      // events
)

const largeAnswer = 10_000

// backend stands for the engine: one thread, one epoll, two system calls an answer,
// so that what is left of the machine is the proxies'.
type backend struct {
	poll    poller
	listen  int
	conns   map[int]*backendConn
	streams streams
	small   []byte
	large   []byte
	state   []byte
}

type backendConn struct {
	fd   int
	in   []byte
	left int // chunks of the stream under way; 0 if there is none
	gone bool
}

// runBackend serves the socket until the process is ended.
func runBackend(socket string) error {
	runtime.LockOSThread()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("backend's socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("backend's socket %s: %w", socket, err)
	}
	if err := unix.Listen(fd, 16384); err != nil {
		return fmt.Errorf("backend's socket: %w", err)
	}
	b := &backend{listen: fd, conns: map[int]*backendConn{}, small: answer(200), large: answer(largeAnswer), state: stateAnswer()}
	if b.poll, err = newPoller(); err != nil {
		return err
	}
	if err := b.poll.add(fd); err != nil {
		return err
	}
	for {
		fds, err := b.poll.wait(b.streams.untilNext(time.Now()))
		if err != nil {
			return err
		}
		for _, fd := range fds {
			if fd == b.listen {
				b.accept()
			} else if c := b.conns[fd]; c != nil {
				b.read(c)
			}
		}
		b.streams.emit(time.Now(), b.drop)
	}
}

func (b *backend) accept() {
	for {
		fd, _, err := unix.Accept4(b.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if err := b.poll.add(fd); err != nil {
			shut(fd)
			continue
		}
		b.conns[fd] = &backendConn{fd: fd}
	}
}

func (b *backend) drop(c *backendConn) {
	if c.gone {
		return
	}
	c.gone = true
	delete(b.conns, c.fd)
	shut(c.fd)
}

func (b *backend) read(c *backendConn) {
	var buf [16 << 10]byte
	n, err := unix.Read(c.fd, buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if n <= 0 {
		b.drop(c)
		return
	}
	c.in = append(c.in, buf[:n]...)
	for {
		head, body, rest, ok := cutMessage(c.in)
		if !ok {
			return
		}
		b.answer(c, head, body)
		c.in = c.in[:copy(c.in, rest)]
		if c.gone || len(c.in) == 0 {
			return
		}
	}
}

func (b *backend) answer(c *backendConn, head, body []byte) {
	_, path, _ := bytes.Cut(head[:min(len(head), 80)], []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	out := b.small
	switch string(path) {
	case pathLarge:
		out = b.large
	case pathStream:
		c.left = member(body, `"chunks":`)
		b.streams.begin(c, time.Duration(member(body, `"interval_ms":`))*time.Millisecond)
		out = streamHead
	case api.PathState:
		out = b.state
	}
	if n, err := unix.Write(c.fd, out); err != nil || n < len(out) {
		b.drop(c)
	}
}

// cutMessage takes a whole HTTP message off the start of b.
func cutMessage(b []byte) (head, body, rest []byte, ok bool) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return nil, nil, nil, false
	}
	head, body = b[:i+4], b[i+4:]
	length := 0
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")) {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	if len(body) < length {
		return nil, nil, nil, false
	}
	return head, body[:length], body[length:], true
}

// member finds a whole number in JSON of our own.
func member(body []byte, name string) int {
	_, after, _ := bytes.Cut(body, []byte(name))
	n := 0
	for _, c := range after {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// said is what the engine tells the proxy of an answer that was not streamed.
const said = api.HeaderFinish + ": stop\r\n" + api.HeaderPromptTokens + ": 12\r\n" + api.HeaderCachedTokens + ": 0\r\n" +
	api.HeaderCompletionTokens + ": 5\r\n" + api.HeaderTTFT + ": 1.5\r\n"

func answer(size int) []byte {
	body := `{"id":"x","content":"` + strings.Repeat("a", size-23) + `"}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"+said+"Content-Length: %d\r\n\r\n%s", len(body), body)
}

func stateAnswer() []byte {
	body := fmt.Sprintf(`{"boot":"bench-%d","phase":"ready","model":"bench"}`, os.Getpid())
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
