package proxy

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"golang.org/x/sys/unix"
)

// busyEngine has a backlog of one connection, and accepts when it is told to.
type busyEngine struct {
	t  *testing.T
	fd int
	e  *standin
}

// startBusy starts an engine that has accepted the proxy's poll and nothing else.
func startBusy(t *testing.T, change ...func(*Config)) (*busyEngine, *harness) {
	t.Helper()
	e := startStandin(t, ok)
	e.kill()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: e.path}), unix.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &busyEngine{t: t, fd: fd, e: e}
	t.Cleanup(func() { unix.Close(fd) })
	h := startUnready(t, e, change...)
	for end := time.Now().Add(6 * patience); b.accept() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the proxy does not poll")
		}
	}
	h.waitReady("")
	return b, h
}

// accept serves what waits in the backlog, and counts it.
func (b *busyEngine) accept() (n int) {
	for {
		fd, _, err := unix.Accept4(b.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return n
		}
		file := os.NewFile(uintptr(fd), "connection")
		c, err := net.FileConn(file)
		file.Close()
		if err != nil {
			b.t.Error(err)
			return n
		}
		b.e.mu.Lock()
		b.e.conns[c] = struct{}{}
		b.e.mu.Unlock()
		b.e.wg.Go(func() { b.e.serve(c) })
		n++
	}
}

// fill connects until the backlog is full.
func (b *busyEngine) fill() {
	b.t.Helper()
	for range 64 {
		c, err := net.Dial("unix", b.e.path)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { c.Close() })
	}
	b.t.Fatal("the backlog takes everything")
}

// Both ways of a request: a loop's, and that of a goroutine of its own.
var bothWays = map[string]string{
	"in a loop":      post(`{}`),
	"in a goroutine": "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}

func TestAnEngineWhoseBacklogIsFullIsBusyAndNotAway(t *testing.T) {
	for name, request := range bothWays {
		t.Run(name, func(t *testing.T) {
			b, h := startBusy(t)
			b.fill()
			r := h.ask(request)
			var said struct{ Error struct{ Code string } }
			if err := json.Unmarshal([]byte(r.body), &said); err != nil || r.status != http.StatusServiceUnavailable || said.Error.Code != "overloaded" || r.header.Get("Retry-After") == "" {
				t.Errorf("%d %s %v", r.status, r.body, err)
			}
			if r := h.ask(get("/health/ready")); r.status != http.StatusOK {
				t.Errorf("readiness turned: %s", r.body)
			}
			if got := h.meters.finishes[api.FinishShed].Get(); got != 1 {
				t.Errorf("%d requests ended as shed", got)
			}
		})
	}
}

func TestARequestWaitsForPlaceInTheEnginesBacklog(t *testing.T) {
	for name, request := range bothWays {
		t.Run(name, func(t *testing.T) {
			b, h := startBusy(t)
			for end := time.Now().Add(6 * patience); ; {
				b.fill()
				answered := make(chan reply, 1)
				go func() { answered <- h.ask(request) }()
				h.eventually("the request to wait", func() bool { return h.meters.inFlight.Load() > 0 || len(answered) > 0 })
				r := b.acceptUntil(answered)
				if r.status == http.StatusOK {
					return
				}
				// Its tries were over before this test came to accept: then once more.
				if r.status != http.StatusServiceUnavailable || time.Now().After(end) {
					t.Fatalf("%d %s", r.status, r.body)
				}
			}
		})
	}
}

// acceptUntil accepts until the answer is here.
func (b *busyEngine) acceptUntil(answered <-chan reply) reply {
	for {
		b.accept()
		select {
		case r := <-answered:
			return r
		case <-time.After(time.Millisecond):
		}
	}
}
