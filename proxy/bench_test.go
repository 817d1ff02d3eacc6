package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

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
