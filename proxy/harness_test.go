package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/telemetry"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// standin speaks the engine's side of the socket contract, raw, so that a test can
// break the contract at any byte.
type standin struct {
	t     testing.TB
	path  string
	ln    net.Listener
	state atomic.Pointer[api.EngineState]
	text  atomic.Pointer[string] // of /internal/metrics
	deaf  atomic.Bool            // accepts and never answers

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	calls  []*call
	answer func(*call)
	wg     sync.WaitGroup
}

// call is one request that reached the stand-in.
type call struct {
	e      *standin
	conn   net.Conn
	in     *bufio.Reader
	method string
	target string
	header http.Header
	raw    string // request line and headers as they came
	body   []byte
}

func startStandin(t testing.TB, answer func(*call)) *standin {
	t.Helper()
	e := &standin{t: t, path: filepath.Join(shortDir(t), "engine.sock"), answer: answer, conns: map[net.Conn]struct{}{}}
	e.state.Store(&api.EngineState{Boot: "boot-1", Phase: api.PhaseReady, Model: "m", PoolUtilization: 12.34})
	text := ""
	e.text.Store(&text)
	e.listen()
	t.Cleanup(e.kill)
	return e
}

// shortDir is a folder whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (e *standin) listen() {
	e.t.Helper()
	os.Remove(e.path)
	ln, err := net.Listen("unix", e.path)
	if err != nil {
		e.t.Fatal(err)
	}
	e.ln = ln
	e.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns[c] = struct{}{}
			e.mu.Unlock()
			e.wg.Go(func() { e.serve(c) })
		}
	})
}

// kill does what SIGKILL does to an engine: its listener and all connections close.
func (e *standin) kill() {
	e.ln.Close()
	e.mu.Lock()
	for c := range e.conns {
		c.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// hangUpIdle closes every connection, as an engine does with idle ones.
func (e *standin) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		c.Close()
		delete(e.conns, c)
	}
}

func (e *standin) serve(c net.Conn) {
	defer func() {
		c.Close()
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	for {
		k, err := readCall(e, c, in)
		if err != nil {
			return
		}
		for e.deaf.Load() {
			if _, err := in.ReadByte(); err != nil {
				return
			}
		}
		switch k.target {
		case api.PathState:
			b, _ := json.Marshal(e.state.Load())
			k.json(200, string(b))
		case api.PathMetrics:
			k.reply(200, "text/plain", *e.text.Load())
		default:
			e.mu.Lock()
			e.calls = append(e.calls, k)
			e.mu.Unlock()
			e.answer(k)
		}
	}
}

func readCall(e *standin, c net.Conn, in *bufio.Reader) (*call, error) {
	k := &call{e: e, conn: c, in: in, header: http.Header{}}
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		k.raw += line
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
			if _, err := fmt.Sscan(k.header.Get("Content-Length"), new(int)); err == nil {
				var size int
				fmt.Sscan(k.header.Get("Content-Length"), &size)
				k.body = make([]byte, size)
				_, err = io.ReadFull(in, k.body)
				return k, err
			}
			return k, nil
		case n == 0:
			parts := strings.Split(line, " ")
			if len(parts) != 3 {
				e.t.Errorf("request line %q reached the engine", line)
				return nil, io.ErrUnexpectedEOF
			}
			k.method, k.target = parts[0], parts[1]
		default:
			name, value, _ := strings.Cut(line, ":")
			k.header.Add(name, strings.TrimSpace(value))
		}
	}
}

// requests returns the calls so far, without those of the poll.
func (e *standin) requests() []*call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*call(nil), e.calls...)
}

func (k *call) write(s string) { io.WriteString(k.conn, s) }

func (k *call) json(status int, body string, headers ...string) {
	k.reply(status, "application/json", body, headers...)
}

func (k *call) reply(status int, media, body string, headers ...string) {
	h := ""
	for _, line := range headers {
		h += line + "\r\n"
	}
	k.write(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), media, h, len(body), body))
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" +
	"Trailer: Semantic-Finish\r\nTransfer-Encoding: chunked\r\n\r\n"

func (k *call) startStream() { k.write(streamHead) }

func (k *call) chunk(s string) { k.write(fmt.Sprintf("%x\r\n%s\r\n", len(s), s)) }

// endStream sends the last chunk and the trailers.
func (k *call) endStream(trailers ...string) {
	s := "0\r\n"
	for _, line := range trailers {
		s += line + "\r\n"
	}
	k.write(s + "\r\n")
}

func (k *call) die() { k.conn.Close() }

// waitClosed returns when the proxy has closed the connection, and how long it took.
func (k *call) waitClosed() time.Duration {
	start := time.Now()
	k.conn.SetReadDeadline(start.Add(patience))
	if _, err := k.in.ReadByte(); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		k.e.t.Errorf("the proxy did not close its connection to the engine: %v", err)
	}
	return time.Since(start)
}

// harness is a running proxy.
type harness struct {
	*Proxy
	t      testing.TB
	engine *standin
	addr   string
	logDir string
	tlog   *telemetry.Log
	once   sync.Once
}

func testConfig(e *standin) Config {
	return Config{
		Host: "127.0.0.1", MaxInFlight: 64, MaxConnections: 256, MaxBody: config.Size(1 << 20),
		ReadHeaderTimeout: patience, ReadTimeout: patience, IdleTimeout: patience, WriteTimeout: patience, RequestTimeout: patience,
		DrainTimeout: patience, StallAfter: 10 * time.Second, ReadyOnPressure: true,
		EngineSocket: e.path,
	}
}

// start runs a proxy before the stand-in and waits until it is ready.
func start(t testing.TB, answer func(*call), change ...func(*Config)) *harness {
	t.Helper()
	h := startUnready(t, startStandin(t, answer), change...)
	h.waitReady("")
	return h
}

func startUnready(t testing.TB, e *standin, change ...func(*Config)) *harness {
	t.Helper()
	cfg := testConfig(e)
	for _, f := range change {
		f(&cfg)
	}
	dir := t.TempDir()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "proxy", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	h := &harness{Proxy: p, t: t, engine: e, addr: p.Addr().String(), logDir: dir, tlog: log}
	t.Cleanup(h.close)
	return h
}

func (h *harness) close() {
	h.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.conns.each(func(c *conn) { c.hangUp() })
		if err := h.Stop(ctx); err != nil {
			h.t.Errorf("Stop: %v", err)
		}
		if err := h.tlog.Close(); err != nil {
			h.t.Errorf("closing the log: %v", err)
		}
	})
}

// waitReady waits until the proxy is ready, or not ready for that reason.
func (h *harness) waitReady(why reason) {
	h.t.Helper()
	h.eventually("readiness "+string(why), func() bool { return h.health.current().reason == why })
}

func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("it never came to %s", what)
		}
	}
}

// client is a raw client connection.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (h *harness) dial() *client {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{h.t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // the body's
	close  bool  // the connection's last
}

func (c *client) read() reply {
	c.t.Helper()
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	return reply{r.StatusCode, r.Header, string(body), err, r.Close}
}

// post is a chat request with that body.
func post(body string, headers ...string) string {
	return postTo("/v1/chat/completions", body, headers...)
}

func postTo(path, body string, headers ...string) string {
	h := ""
	for _, line := range headers {
		h += line + "\r\n"
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, h, len(body), body)
}

func get(path string, headers ...string) string {
	h := ""
	for _, line := range headers {
		h += line + "\r\n"
	}
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + h + "\r\n"
}

// ask sends one request on a connection of its own.
func (h *harness) ask(request string) reply {
	h.t.Helper()
	c := h.dial()
	defer c.Close()
	c.send(request)
	return c.read()
}

// lines returns the access log so far.
func (h *harness) lines() []map[string]any {
	h.t.Helper()
	if err := h.tlog.Sync(); err != nil {
		h.t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(h.logDir, "proxy.log"))
	if err != nil {
		h.t.Fatal(err)
	}
	var all []map[string]any
	for line := range bytes.Lines(b) {
		m := map[string]any{}
		if err := json.Unmarshal(line, &m); err != nil {
			h.t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == "request" {
			all = append(all, m)
		}
	}
	return all
}

// waitLines waits until n requests are in the access log, and returns them.
func (h *harness) waitLines(n int) []map[string]any {
	h.t.Helper()
	var lines []map[string]any
	h.eventually(fmt.Sprintf("%d lines in the access log", n), func() bool { lines = h.lines(); return len(lines) >= n })
	if len(lines) != n {
		h.t.Fatalf("%d lines in the access log, not %d", len(lines), n)
	}
	return lines
}

// metric returns the value of a series, or -1.
func (h *harness) metric(series string) float64 {
	h.t.Helper()
	return valueOf(h.ask(get("/metrics")).body, series)
}

func valueOf(exposition, series string) float64 {
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v := -1.0
			fmt.Sscan(rest, &v)
			return v
		}
	}
	return -1
}

// sumOf adds up all series of a family.
func sumOf(exposition, family string) float64 {
	sum := 0.0
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, family+"{"); ok {
			_, value, _ := strings.Cut(rest, "} ")
			v := 0.0
			fmt.Sscan(value, &v)
			sum += v
		}
	}
	return sum
}

// openFiles counts the process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// noLeaks compares goroutines and descriptors before and after f.
func noLeaks(t *testing.T, f func()) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	f()
	end := time.Now().Add(patience)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("before: %d goroutines, %d descriptors; after: %d and %d\n%s", goroutines, files,
				runtime.NumGoroutine(), openFiles(t), stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ok answers with a small generation.
func ok(k *call) {
	k.json(200, `{"answer":true}`, "Semantic-Finish: stop", "Semantic-Prompt-Tokens: 7", "Semantic-Cached-Tokens: 3",
		"Semantic-Completion-Tokens: 2", "Semantic-TTFT: 12.5", "Semantic-Queue-Time: 1.25")
}
