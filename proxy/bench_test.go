package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/api"
)

// steadyEngine answers every request with the same bytes and makes no garbage, so
// that what a benchmark counts is the proxy's.
func steadyEngine(b testing.TB, answer []byte) *standin {
	e := startStandin(b, nil)
	e.kill()
	ln, err := net.Listen("unix", e.path)
	if err != nil {
		b.Fatal(err)
	}
	state := `{"boot":"b","phase":"ready"}`
	stateAnswer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(state), state)
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerSteadily(c, stateAnswer, answer)
		}
	}()
	return e
}

func answerSteadily(c net.Conn, state, answer []byte) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		reply := answer
		if bytes.Contains(buf[:min(n, 64)], []byte(api.PathState)) {
			reply = state
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// roundTrips sends the request n times over one connection and reads an answer of
// size bytes each time.
func roundTrips(b *testing.B, network, addr string, request []byte) {
	c, err := net.Dial(network, addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 64<<10)
	trip := func() int {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		total := 0
		for !bytes.HasSuffix(buf[:total], []byte(`"end"}`)) {
			n, err := c.Read(buf[total:])
			if err != nil {
				b.Fatal(err)
			}
			total += n
		}
		return total
	}
	trip()
	took := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		trip()
		took[i] = time.Since(start)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
}

func steadyAnswer(size int) []byte {
	body := `{"a":"` + strings.Repeat("x", size-18) + `","b":"end"}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSemantic-Finish: stop\r\nSemantic-Prompt-Tokens: 12\r\n"+
		"Semantic-Cached-Tokens: 0\r\nSemantic-Completion-Tokens: 5\r\nSemantic-TTFT: 1.5\r\nDate: Mon, 23 Nov 2026 13:28:59 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// BenchmarkForward is the steady path: JSON in, JSON out, with ids, counts and the
// access log. BenchmarkDirect is the same without the proxy between.
func BenchmarkForward(b *testing.B) {
	for _, size := range []int{200, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			h := startUnready(b, steadyEngine(b, steadyAnswer(size)))
			h.waitReady("")
			roundTrips(b, "tcp", h.addr, []byte(post(strings.Repeat("y", 1000), "User-Agent: bench/1.0", "Accept: */*")))
		})
	}
}

func BenchmarkDirect(b *testing.B) {
	for _, size := range []int{200, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := steadyEngine(b, steadyAnswer(size))
			roundTrips(b, "unix", e.path, []byte(post(strings.Repeat("y", 1000))))
		})
	}
}

func BenchmarkProbe(b *testing.B) {
	h := startUnready(b, steadyEngine(b, nil))
	h.waitReady("")
	c := h.dial()
	c.SetDeadline(time.Now().Add(time.Minute))
	request, buf := []byte(get("/health/ready")), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(request)
		if n, err := c.Conn.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("}")) {
			b.Fatal(err)
		}
	}
}

// BenchmarkStreamChunk is one chunk of a stream, from the engine to the client.
func BenchmarkStreamChunk(b *testing.B) {
	chunk := []byte(chunked(hello))
	next := make(chan struct{})
	h := start(b, func(k *call) {
		k.startStream()
		for range next {
			k.conn.Write(chunk)
		}
	})
	c := h.dial()
	c.SetDeadline(time.Now().Add(time.Minute))
	c.send(post(streamIt))
	head := make([]byte, 4096)
	if _, err := c.Conn.Read(head); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, len(chunk))
	b.ReportAllocs()
	for b.Loop() {
		next <- struct{}{}
		if _, err := io.ReadFull(c.Conn, buf); err != nil {
			b.Fatal(err)
		}
	}
	close(next)
}

// BenchmarkForwardWithKey is the steady path with a key that has every limit.
func BenchmarkForwardWithKey(b *testing.B) {
	_, change := withKeys(b, keyEntry("ci", ownKey, "requests_per_second: 1000000", "burst: 1000", "tokens_per_minute: 1000000000000", "max_concurrent: 100"))
	h := startUnready(b, steadyEngine(b, steadyAnswer(200)), change)
	h.waitReady("")
	roundTrips(b, "tcp", h.addr, []byte(post(`{"max_tokens":20,"prompt":"`+strings.Repeat("y", 1000)+`"}`, "User-Agent: bench/1.0", "Accept: */*", bearer(ownKey))))
}

// BenchmarkOwnWork is what a loop does for a request with a key and limits, without what
// the kernel does for TCP and for waiting: the request is there, and so is the answer.
func BenchmarkOwnWork(b *testing.B) {
	_, change := withKeys(b, keyEntry("ci", ownKey, "requests_per_second: 1000000", "burst: 1000000", "tokens_per_minute: 1000000000000", "max_concurrent: 100"))
	h := startUnready(b, steadyEngine(b, nil), change, func(c *Config) { c.LimitNoDelay = true })
	h.waitReady("")
	request := []byte(post(`{"model":"bench","max_tokens":20,"messages":[{"role":"user","content":"Name the capital of Italy."}]}`, bearer(ownKey)))
	answer, buf := steadyAnswer(200), make([]byte, 4096)
	client, engine := pair(b), pair(b)
	l, done := h.lanes[0], make(chan struct{})
	b.ReportAllocs()
	l.post(func() {
		defer close(done)
		c := &conn{p: h.Proxy, client: "127.0.0.1"}
		g := &guest{loop: l, conn: c, fd: client[0]}
		c.lane, g.alarm = g, alarm{ring: g.timeUp, owner: g}
		u := &upstream{loop: l, fd: engine[0]}
		l.idle = append(l.idle, u)
		b.ResetTimer()
		for range b.N {
			g.begin()
			g.take(request)
			l.flush()
			_, _ = readNow(engine[1], buf)
			u.in, u.r, u.w = l.fromEngine, 0, copy(l.fromEngine, answer)
			g.hear()
			l.flush()
			if n, _ := readNow(client[1], buf); !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 OK")) {
				b.Errorf("it answers %q", buf[:n])
				return
			}
		}
		b.StopTimer()
		l.idle = nil
		l.alarms.drop(&g.alarm)
	})
	<-done
}

func pair(b testing.TB) [2]int {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = errors.Join(unix.Close(fds[0]), unix.Close(fds[1])) })
	return fds
}
