package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/bench/measure"
	"golang.org/x/sys/unix"
)

// caseCrowds is many clients that do nothing: connections that say nothing more, and
// streams that nobody reads. What counts is the proxy's memory, in a process of its own.
const (
	caseCrowds   = "crowds"
	idleClients  = 10_000
	slowReaders  = 5_000
	slowBuffer   = 16 << 10 // of a client's socket; the kernel doubles it
	crowdTimeout = 2 * time.Minute
	settleTime   = 3 * time.Second // for what can still be buffered
)

func (b *bench) crowded(round int) error {
	if err := b.idle(round); err != nil {
		return fmt.Errorf("%d idle connections: %w", idleClients, err)
	}
	if err := b.unread(round); err != nil {
		return fmt.Errorf("%d slow readers: %w", slowReaders, err)
	}
	return nil
}

// fresh starts a proxy that served nobody yet.
func (b *bench) fresh(name string, at place, flags ...string) (*peer, error) {
	p := &peer{name: name, on: true, command: func(p place) ([]string, error) {
		command, err := p.semantic(b.binaries.semantic)
		return append(command, flags...), err
	}}
	if err := p.begin(b.dir, at); err != nil {
		if p.process != nil {
			p.process.stop()
		}
		return nil, err
	}
	return p, nil
}

// crowd is clients' connections to a peer.
type crowd struct {
	p   *peer
	fds []int
}

func (c *crowd) leave() {
	for _, fd := range c.fds {
		shut(fd)
	}
}

// join opens a connection, from one of several loopback addresses, and sends a request.
func (c *crowd) join(request []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w (ulimit -n: each client takes a file)", err)
	}
	c.fds = append(c.fds, fd)
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 2, byte(1 + len(c.fds)%8)}}
	to := unix.SockaddrInet4{Port: c.p.Port, Addr: [4]byte{127, 0, 0, 1}}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, slowBuffer), unix.Bind(fd, &from), unix.Connect(fd, &to))
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, request)
	return err
}

// idle has clients ask once and then say nothing.
func (b *bench) idle(round int) error {
	p, err := b.fresh(fmt.Sprintf("semantic idle %d", round), b.at)
	if err != nil {
		return err
	}
	defer p.process.stop()
	c := &crowd{p: p}
	defer c.leave()
	before := p.process.rss()
	request, answer := []byte("GET /health/live HTTP/1.1\r\nHost: bench\r\n\r\n"), make([]byte, 4096)
	for range idleClients {
		if err := c.join(request); err != nil {
			return err
		}
		if n, err := unix.Read(c.fds[len(c.fds)-1], answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200")) {
			return fmt.Errorf("%w: %q", err, answer[:max(n, 0)])
		}
	}
	after := p.process.rss()
	b.add("crowd-idle-10000", "semantic", "rss_mib", after)
	b.add("crowd-idle-10000", "semantic", "kib_a_connection", (after-before)*1024/idleClients)
	took, err := probes(p)
	b.add("crowd-idle-10000", "semantic", "probe_p99_us", took)
	return err
}

// unread has clients ask for streams that they do not read.
func (b *bench) unread(round int) error {
	at, f := b.at, &flood{}
	at.Engine = filepath.Join(b.dir, fmt.Sprintf("flood%d.sock", round))
	if err := f.start(at.Engine); err != nil {
		return err
	}
	defer f.stop()
	p, err := b.fresh(fmt.Sprintf("semantic slow %d", round), at, "--write-timeout", "20s")
	if err != nil {
		return err
	}
	defer p.process.stop()
	c := &crowd{p: p}
	defer c.leave()
	before, most := p.process.rss(), 0.0
	request := rawRequest(pathStream, b.key, `{"model":"bench","prompt":"tell","stream":true}`)
	for range slowReaders {
		if err := c.join(request); err != nil {
			return err
		}
		most = max(most, p.process.rss())
	}
	for end := time.Now().Add(crowdTimeout); f.streams.Load() < slowReaders; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d streams run", f.streams.Load())
		}
	}
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		most = max(most, p.process.rss())
	}
	took, err := probes(p)
	if err != nil {
		return err
	}
	for end := time.Now().Add(crowdTimeout); f.streams.Load() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d streams still run after --write-timeout", f.streams.Load())
		}
		most = max(most, p.process.rss())
	}
	gone, err := p.counted(`semantic_finish_total{class="client_gone"}`)
	if err != nil || gone != slowReaders {
		return fmt.Errorf("%v of %d streams ended as client_gone: %w", gone, slowReaders, err)
	}
	b.add("crowd-slow-5000", "semantic", "rss_mib", most)
	b.add("crowd-slow-5000", "semantic", "kib_a_stream", (most-before)*1024/slowReaders)
	b.add("crowd-slow-5000", "semantic", "probe_p99_us", took)
	return nil
}

// probes is the 99th of a hundred answers to /health/ready, in microseconds.
func probes(p *peer) (float64, error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	in := make([]byte, 4096)
	var took []float64
	for range 100 {
		began := time.Now()
		if _, err := io.WriteString(c, "GET /health/ready HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return 0, err
		}
		if n, err := c.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200")) {
			return 0, fmt.Errorf("a probe: %q %w", in[:n], err)
		}
		took = append(took, float64(time.Since(began).Microseconds()))
	}
	return measure.Percentile(took, 99), nil
}

// counted reads a series of the peer's metrics.
func (p *peer) counted(series string) (float64, error) {
	got, err := http.Get(p.url("/metrics"))
	if err != nil {
		return 0, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\n"+series+" ")
	var v float64
	_, err = fmt.Sscan(rest, &v)
	return v, err
}

// flood stands for an engine whose streams never end, and come faster than anybody
// reads.
type flood struct {
	ln      net.Listener
	streams atomic.Int64
	all     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (f *flood) start(path string) (err error) {
	if f.ln, err = net.Listen("unix", path); err != nil {
		return err
	}
	f.conns = map[net.Conn]bool{}
	f.all.Go(func() {
		for {
			c, err := f.ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			f.all.Go(func() { f.serve(c) })
		}
	})
	return nil
}

func (f *flood) stop() {
	f.ln.Close()
	f.mu.Lock()
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
	_ = os.Remove(f.ln.Addr().String())
}

func (f *flood) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 4096)
	for {
		var text []byte
		for !bytes.HasSuffix(text, []byte("\r\n\r\n")) {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			text = append(text, line...)
		}
		out := answer(200)
		switch {
		case bytes.Contains(text, []byte(api.PathState)):
			out = stateAnswer()
		case bytes.HasPrefix(text, []byte("POST "+pathStream)):
			f.pour(c)
			return
		}
		length := member(bytes.ToLower(text), "content-length: ")
		if _, err := in.Discard(length); err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

var floodEvent = func() []byte {
	event := "data: " + strings.Repeat("x", 4<<10) + "\n\n"
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event)
}()

// pour writes until the other end hangs up.
func (f *flood) pour(c net.Conn) {
	f.streams.Add(1)
	defer f.streams.Add(-1)
	if _, err := c.Write(streamHead); err != nil {
		return
	}
	for {
		if _, err := c.Write(floodEvent); err != nil {
			return
		}
	}
}
