package proxy

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// heldBytes is what the process has in its heap and stacks after a collection.
func heldBytes() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

const clientBuffer = 32 << 10 // the kernel doubles it

// crowd opens n connections from several loopback addresses, each of which sends
// request.
func crowd(t *testing.T, h *harness, n int, request string) []net.Conn {
	t.Helper()
	var all []net.Conn
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	for i := range n {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%4))}
		c, err := (&net.Dialer{LocalAddr: from, Timeout: patience}).Dial("tcp", h.addr)
		if err != nil {
			t.Fatalf("connection %d: %v (the limit of open files is part of what is tested: ulimit -n)", i, err)
		}
		// So that what the client's side takes is little and known.
		if err := c.(*net.TCPConn).SetReadBuffer(clientBuffer); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if request != "" {
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// Connections that say nothing cost little memory each, and probes are answered.
func TestIdleConnectionsCostLittle(t *testing.T) {
	const n = 2000
	h := start(t, ok, func(c *Config) {
		c.MaxConnections, c.IdleTimeout, c.ReadHeaderTimeout = 2*n, time.Minute, time.Minute
	})
	before := heldBytes()
	crowd(t, h, n, "")
	h.eventually("all connections", func() bool { return h.conns.count() == n })
	each := (heldBytes() - before) / n
	t.Logf("%d bytes a connection, both ends in one process", each)
	if each > 64<<10 {
		t.Errorf("%d bytes a connection", each)
	}
	if r := h.ask(get("/health/ready")); r.status != 200 {
		t.Errorf("a probe: %d", r.status)
	}
}

// Streams whose clients do not read are buffered within bounds and end as client_gone
// after --write-timeout.
func TestSlowReadersAreBufferedWithinBounds(t *testing.T) {
	const n, each = 200, 4 << 20
	event := "data: " + strings.Repeat("x", 16<<10) + "\n\n"
	var taken atomic.Int64
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event) // one for all: what is measured is the proxy's
	h := start(t, func(k *call) {
		k.startStream()
		for sent := 0; sent < each; sent += len(event) {
			if _, err := k.conn.Write(chunk); err != nil {
				return
			}
			taken.Add(int64(len(event)))
		}
		k.endStream("Semantic-Finish: stop")
	}, func(c *Config) {
		c.MaxInFlight, c.MaxConnections, c.WriteTimeout = 2*n, 2*n, 2*time.Second
		c.RequestTimeout = time.Minute // the kernel's buffers have to fill first
	})
	before := heldBytes()
	crowd(t, h, n, post(`{"stream":true}`))
	h.eventually("all streams to run", func() bool { return len(h.engine.requests()) == n })
	time.Sleep(500 * time.Millisecond) // for the buffers to fill
	held := (heldBytes() - before) / n
	t.Logf("%d bytes a stream, engine and client in the same process", held)
	if held > 256<<10 {
		t.Errorf("%d bytes are held for a client that does not read", held)
	}
	// Two sockets' buffers stand between the engine and the client, and the kernel
	// lets none of them grow.
	t.Logf("%d bytes a stream were taken from the engine", taken.Load()/n)
	if got := taken.Load() / n; got > 1<<20 {
		t.Errorf("%d bytes of a stream were taken for a client that does not read", got)
	}
	for end := time.Now().Add(6 * patience); h.meters.inFlight.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams have not ended", h.meters.inFlight.Load())
		}
	}
	if got := h.meters.finishes["client_gone"].Get(); got != n {
		t.Errorf("%d of %d ended as client_gone", got, n)
	}
}

// What is above --max-in-flight is refused at once while the rest runs.
func TestRefusalOfAFullServerIsQuick(t *testing.T) {
	release := make(chan struct{})
	h := start(t, func(k *call) { <-release; ok(k) }, func(c *Config) { c.MaxInFlight = 32 })
	var running sync.WaitGroup
	for range 32 {
		running.Go(func() { h.ask(post("{}")) })
	}
	h.eventually("the server to be full", func() bool { return h.slots.taken.Load() == 32 })
	c := h.dial()
	var took []time.Duration
	for range 300 {
		began := time.Now()
		c.send(post("{}"))
		if r := c.read(); r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("refused after %v at the median, %v at p99", took[150], took[297])
	if took[150] > 50*time.Millisecond {
		t.Errorf("a refusal took %v", took[150])
	}
	close(release)
	running.Wait()
}
