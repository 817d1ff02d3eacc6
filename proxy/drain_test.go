package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/telemetry"
)

// stopping runs Stop and returns its result later.
func (h *harness) stopping(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	h.once.Do(func() {
		go func() {
			result <- errors.Join(h.Stop(ctx), h.tlog.Close())
		}()
	})
	return result
}

func refusesConnections(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// The order: readiness turns, connections are still taken for the delay, then
// refused; what runs ends well; all is closed.
func TestDrainGoesInOrder(t *testing.T) {
	next := make(chan string)
	h := start(t, func(k *call) {
		if string(k.body) != streamIt {
			ok(k)
			return
		}
		k.startStream()
		for s := range next {
			k.chunk(s)
		}
		k.endStream(goodEnd)
	}, func(c *Config) { c.DrainDelay = 300 * time.Millisecond })
	running, kept := h.dial(), h.dial()
	running.send(post(streamIt))
	r, err := http.ReadResponse(running.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	kept.send(post(`{}`))
	kept.read()

	began := time.Now()
	result := h.stopping(context.Background())
	h.waitReady(reasonShuttingDown)
	h.wantProbe("/health/ready", 503, `{"status":"not_ready","reason":"shutting_down","pool_utilization":12.3}`)
	h.wantProbe("/health/live", 200, `{"status":"alive"}`)
	if got := h.ask(post(`{}`)); got.status != 200 {
		t.Errorf("a request within the delay: %+v", got)
	}
	h.eventually("refused connections", func() bool { return refusesConnections(h.addr) })
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("connections were refused after %s", took)
	}
	if _, err := kept.in.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection was not closed: %v", err)
	}
	next <- hello // the stream still runs
	next <- done
	close(next)
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != hello+done {
		t.Errorf("the running stream ended as %q, %v", body, err)
	}
	if err := <-result; err != nil {
		t.Errorf("Stop: %v", err)
	}
	if n := h.conns.count(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestAnswersDuringADrainSayClose(t *testing.T) {
	release := make(chan struct{})
	h := start(t, func(k *call) { <-release; ok(k) })
	c := h.dial()
	c.send(post(`{}`))
	h.eventually("a running request", func() bool { return len(h.engine.requests()) == 1 })
	result := h.stopping(context.Background())
	h.eventually("refused connections", func() bool { return refusesConnections(h.addr) })
	close(release)
	if got := c.read(); got.status != 200 || !got.close {
		t.Errorf("answer %+v", got)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A client that keeps its connection is sent elsewhere by the first answer after the
// drain's begin; one that had its connection open and was about to ask is heard, though
// the door is closed.
func TestDrainLosesNoRequestOnAKeptConnection(t *testing.T) {
	for name, request := range map[string]string{
		"loop":      post(`{}`),
		"goroutine": post(`{}`, "TE: trailers"), // which a loop hands over
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, ok, func(c *Config) { c.DrainDelay, c.DrainQuiet, c.DrainTimeout = time.Second, 2*time.Second, patience })
			used, quiet := h.dial(), h.dial()
			for _, c := range []*client{used, quiet} {
				c.send(request)
				if got := c.read(); got.status != 200 || got.close {
					t.Fatalf("before the drain: %+v", got)
				}
			}
			result := h.stopping(context.Background())
			h.waitReady(reasonShuttingDown)
			used.send(request)
			if got := used.read(); got.status != 200 || !got.close {
				t.Errorf("an answer within the delay: %+v", got)
			}
			fresh := dialLast(t, h)
			h.eventually("refused connections", func() bool { return refusesConnections(h.addr) })
			fresh.send(request)
			if got := fresh.read(); got.status != 200 || !got.close {
				t.Errorf("a client that was about to ask got %+v", got)
			}
			if _, err := quiet.in.ReadByte(); err != io.EOF {
				t.Errorf("the idle connection ended with %v", err)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
}

// dialLast connects again and again until connections are refused, and returns the last
// that was taken.
func dialLast(t *testing.T, h *harness) *client {
	t.Helper()
	last := h.dial()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		tcp, err := net.Dial("tcp", h.addr)
		if err != nil {
			return last
		}
		last.Close()
		tcp.SetDeadline(time.Now().Add(patience))
		last = &client{t, tcp, bufio.NewReader(tcp)}
	}
	t.Fatal("connections go on being taken")
	return nil
}

// What does not end in time is told so, whatever it is.
func TestDrainTimeoutEndsTheRest(t *testing.T) {
	closed := make(chan struct{}, 3)
	h := start(t, func(k *call) {
		if string(k.body) == streamIt {
			k.startStream()
			k.chunk(hello)
		}
		k.waitClosed()
		closed <- struct{}{}
	}, func(c *Config) { c.DrainTimeout = 150 * time.Millisecond })
	stream, waiting, upload := h.dial(), h.dial(), h.dial()
	stream.send(post(streamIt))
	waiting.send(post(`{}`))
	upload.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
	h.eventually("two running requests", func() bool { return len(h.engine.requests()) == 2 })
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	result := h.stopping(context.Background())
	if got := stream.read(); !strings.HasPrefix(got.body, hello+`data: {"error"`) || !strings.Contains(got.body, "shutting_down") || got.err != nil {
		t.Errorf("stream %q, %v", got.body, got.err)
	}
	if got := waiting.read(); got.status != 503 || !strings.Contains(got.body, "shutting_down") || got.header.Get("Retry-After") == "" {
		t.Errorf("waiting request: %+v", got)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 150*time.Millisecond+2*farewell {
		t.Errorf("the drain took %s", took)
	}
	<-closed
	<-closed
	var drained int
	b, _ := os.ReadFile(h.logDir + "/proxy.log")
	drained = strings.Count(string(b), `"finish":"drained"`)
	if drained != 2 {
		t.Errorf("%d requests ended as drained:\n%s", drained, b)
	}
}

// A second signal ends the waits.
func TestEndedContextCutsTheDrainShort(t *testing.T) {
	h := start(t, func(k *call) { k.waitClosed() }, func(c *Config) { c.DrainDelay = time.Minute; c.DrainTimeout = time.Minute })
	c := h.dial()
	c.send(post(`{}`))
	h.eventually("a running request", func() bool { return len(h.engine.requests()) == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	result := h.stopping(ctx)
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Stop goes on waiting")
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	noLeaks(t, func() {
		h := start(t, func(k *call) {
			switch string(k.body) {
			case streamIt:
				k.startStream()
				k.chunk(hello)
				k.waitClosed()
			case "die":
				k.die()
			default:
				ok(k)
			}
		}, func(c *Config) {
			c.Socket = shortDir(t) + "/proxy.sock"
			c.MetricsListen = "127.0.0.1:0"
			c.DrainTimeout = 50 * time.Millisecond
		})
		for i := range 20 {
			c := h.dial()
			c.send([]string{post(streamIt), post("die"), post("x"), "POST /", ""}[i%5])
			if i%3 == 0 {
				c.Close()
			}
			t.Cleanup(func() { c.Close() })
			defer c.Close()
		}
		time.Sleep(50 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := <-h.stopping(ctx); err != nil {
			t.Error(err)
		}
		h.engine.kill()
	})
}

func TestConnectionsOverTheLimitGet503(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.MaxConnections = 3 })
	var held []*client
	for range 3 {
		c := h.dial()
		c.send(get("/health/live"))
		c.read()
		held = append(held, c)
	}
	got := h.dial().read() // says so before anything is asked
	if got.status != 503 || !strings.Contains(got.body, "--max-connections") || got.header.Get("X-Request-ID") == "" || got.header.Get("Retry-After") == "" {
		t.Errorf("answer %+v", got)
	}
	// A client that sends its request at once, and a long one, reads the same, if it comes
	// within farewellTime: on a busy machine not each one does.
	refused := 1
	h.eventually("a client that asked at once to read 503", func() bool {
		refused++
		asks := h.dial()
		_, _ = io.WriteString(asks, post(`{"x":"`+strings.Repeat("x", 1<<20)+`"}`))
		got, err := http.ReadResponse(asks.in, nil)
		return err == nil && got.StatusCode == 503
	})
	held[0].Close()
	h.eventually("room for a connection", func() bool { return h.conns.count() == 2 })
	if text := h.ask(get("/metrics")).body; valueOf(text, `semantic_rejected_total{reason="max_connections"}`) != float64(refused) {
		t.Error("the refused connections are not counted")
	}
}

func TestUsedPortNamesTheFlag(t *testing.T) {
	h := start(t, ok)
	cfg := testConfig(h.engine)
	cfg.Port = h.Addr().(*net.TCPAddr).Port
	startFails(t, cfg, fmt.Sprintf("--port=%d", cfg.Port))
	cfg.MetricsListen, cfg.Port = h.addr, 0
	startFails(t, cfg, "--metrics-listen="+h.addr)
	cfg.MetricsListen, cfg.Host, cfg.AllowRemote, cfg.NoAuth = "", "192.0.2.1", true, true
	startFails(t, cfg, "--host=192.0.2.1")
}

func startFails(t *testing.T, cfg Config, want string) {
	t.Helper()
	noLeaks(t, func() {
		log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "proxy", Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		p, err := New(cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start: %v, want %s in it", err, want)
		}
	})
}

func TestValidateNamesTheFlag(t *testing.T) {
	good := testConfig(&standin{path: "x"})
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"--allow-remote":        func(c *Config) { c.Host = "0.0.0.0" },
		"--insecure-no-auth":    func(c *Config) { c.Host = "::"; c.AllowRemote = true },
		"--host=example.org":    func(c *Config) { c.Host = "example.org" },
		"--port=70000":          func(c *Config) { c.Port = 70000 },
		"--metrics-listen=nine": func(c *Config) { c.MetricsListen = "nine" },
		"--max-body=0":          func(c *Config) { c.MaxBody = 0 },
		"--max-body=2GiB":       func(c *Config) { c.MaxBody = config.Size(2 << 30) },
		"--max-in-flight=0":     func(c *Config) { c.MaxInFlight = 0 },
		"--max-connections=-1":  func(c *Config) { c.MaxConnections = -1 },
		"--request-timeout=0s":  func(c *Config) { c.RequestTimeout = 0 },
		"--drain-delay=-1s":     func(c *Config) { c.DrainDelay = -time.Second },
		"--stall-after=0s":      func(c *Config) { c.StallAfter = 0 },
		"--socket-dir":          func(c *Config) { c.EngineSocket = "" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s in it", err, want)
		}
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "::1", "localhost"} {
		c := good
		c.Host = host
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
