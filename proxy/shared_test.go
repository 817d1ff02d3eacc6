package proxy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// redisServer is a real one, with a port and folder of its own.
type redisServer struct {
	t    testing.TB
	dir  string
	port int
	cmd  *exec.Cmd
}

func startRedis(t testing.TB) *redisServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &redisServer{t: t, dir: t.TempDir(), port: ln.Addr().(*net.TCPAddr).Port}
	ln.Close()
	r.run()
	t.Cleanup(r.kill)
	return r
}

func (r *redisServer) run() {
	r.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		r.t.Fatalf("%v; run: make test-setup, or install Debian's redis-server", err)
	}
	r.cmd = exec.Command(path, "--port", fmt.Sprint(r.port), "--bind", "127.0.0.1", "--requirepass", "secret", "--save", "", "--dir", r.dir,
		"--logfile", filepath.Join(r.dir, "log"))
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for end := time.Now().Add(3 * patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("redis-server did not start: %v\n%s", err, log)
		}
	}
}

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *redisServer) url() string { return fmt.Sprintf("redis://:secret@127.0.0.1:%d/0", r.port) }

// twoProxies before one engine share a store.
func twoProxies(t *testing.T, r *redisServer, answer func(*call), limits ...string) [2]*harness {
	t.Helper()
	_, change := withKeys(t, keyEntry("ci", ownKey, limits...))
	e := startStandin(t, answer)
	var both [2]*harness
	for i := range both {
		both[i] = startUnready(t, e, change, func(c *Config) { c.LimitsStore = r.url() })
		both[i].waitReady("")
	}
	return both
}

// Two proxies let one key through at its rate, as if they were one.
func TestTwoProxiesHoldAKeyToItsRateTogether(t *testing.T) {
	const rate, burst, clients, seconds = 100, 20, 8, 4
	var mu sync.Mutex
	var times []time.Time
	both := twoProxies(t, startRedis(t), func(k *call) {
		mu.Lock()
		times = append(times, time.Now())
		mu.Unlock()
		ok(k)
	}, fmt.Sprintf("requests_per_second: %d", rate), fmt.Sprintf("burst: %d", burst))
	var wg sync.WaitGroup
	var refused atomic.Int32
	end := time.Now().Add(seconds * time.Second)
	for i := range 2 * 2 * clients {
		wg.Go(func() {
			c := both[i%2].dial()
			c.SetDeadline(end.Add(3 * patience))
			for time.Now().Before(end) {
				c.send(post("{}", bearer(ownKey)))
				if r := c.read(); r.status == 429 {
					refused.Add(1)
					time.Sleep(20 * time.Millisecond)
				} else if r.status != 200 {
					t.Errorf("%d %s", r.status, r.body)
					return
				}
			}
		})
	}
	wg.Wait()
	// Of the line's requests some run beyond the end: only what is between counts.
	n, first, last := len(times), times[0], times[len(times)-1]
	got := float64(n-1) / last.Sub(first).Seconds()
	t.Logf("%d requests in %v: %.2f a second, %d refused; fell back %v and %v times", n, last.Sub(first), got, refused.Load(),
		both[0].meters.fellBack.Get(), both[1].meters.fellBack.Get())
	if both[0].meters.fellBack.Get()+both[1].meters.fellBack.Get() > 0 {
		t.Log("the machine was too busy for the store: nothing to compare")
		return
	}
	if got > rate*1.02 {
		t.Errorf("%.2f requests a second, more than %v", got, rate)
	}
	if got < rate*0.85 { // a busy machine lets turns pass
		t.Errorf("%.2f requests a second, less than %v", got, rate)
	}
	if refused.Load() == 0 {
		t.Error("nothing was refused: it was no flood")
	}
}

func TestTwoProxiesShareTokensAndPlaces(t *testing.T) {
	release := make(chan struct{})
	both := twoProxies(t, startRedis(t), func(k *call) {
		if strings.Contains(string(k.body), "hold") {
			<-release
		}
		k.json(200, `{}`, "Semantic-Finish: stop", "Semantic-Prompt-Tokens: 100", "Semantic-Completion-Tokens: 300")
	}, "tokens_per_minute: 1000", "max_concurrent: 2")
	one, two := both[0], both[1]
	r := one.ask(post(`{"max_tokens":300}`, bearer(ownKey)))
	if r.status != 200 || r.header.Get("X-RateLimit-Limit-Tokens") != "1000" {
		t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	// 400 are used; 600 are left, and what has come in since.
	var left int
	two.eventually("the settlement to be seen by the other", func() bool {
		r := two.ask(post(`{"max_tokens":1}`, bearer(ownKey)))
		fmt.Sscan(r.header.Get("X-RateLimit-Remaining-Tokens"), &left)
		return r.status == 429
	})
	if left > 100 {
		t.Errorf("%d tokens are left", left)
	}

	places := twoProxies(t, startRedis(t), one.engine.answer, "max_concurrent: 2")
	var wg sync.WaitGroup
	for _, h := range places {
		wg.Go(func() { h.ask(post(`{"hold":1}`, bearer(ownKey))) })
		h.eventually("the request to be with the engine", func() bool { return h.meters.inFlight.Load() == 1 && len(h.engine.requests()) >= 1 })
	}
	places[0].eventually("both to be with the engine", func() bool { return len(places[0].engine.requests()) == 2 })
	for _, h := range places {
		if r := h.ask(post(`{}`, bearer(ownKey))); r.status != 429 || !strings.Contains(r.body, "max_concurrent") {
			t.Errorf("a third: %d %s", r.status, r.body)
		}
	}
	close(release)
	wg.Wait()
	places[0].eventually("a free place", func() bool { return places[0].ask(post(`{}`, bearer(ownKey))).status == 200 })
}

// A store that dies or stands still makes each proxy decide by itself, and is used
// again when it is back.
func TestLimitsAreEachProxysOwnWhileTheStoreIsAway(t *testing.T) {
	r := startRedis(t)
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 0.01", "burst: 3"))
	h := start(t, ok, change, func(c *Config) { c.LimitsStore, c.LimitNoDelay = r.url(), true })
	ask := func() int { return h.ask(post("{}", bearer(ownKey))).status }
	if h.metric("semantic_limits_store_up") != 1 || ask() != 200 {
		t.Fatal("the store is not used")
	}
	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	if status := ask(); status != 200 && status != 429 || time.Since(began) > 20*time.Second {
		t.Errorf("with a store that stands still: %d after %v", status, time.Since(began))
	}
	h.eventually("the store to count as away", func() bool { return h.metric("semantic_limits_store_up") == 0 })
	_ = r.cmd.Process.Signal(syscall.SIGCONT)
	r.kill()
	if h.metric("semantic_limits_store_fallbacks_total") < 1 {
		t.Error("the fallback is not counted")
	}
	h.tlog.Sync()
	log, _ := os.ReadFile(filepath.Join(h.logDir, "proxy.log"))
	if !strings.Contains(string(log), "--limits-store is away") || strings.Contains(string(log), "secret") {
		t.Error("the log does not tell, or tells the password")
	}
	refused := 0
	for range 8 { // the local limit holds: a burst of 3 and one
		if ask() == 429 {
			refused++
		}
	}
	if refused < 4 {
		t.Errorf("%d of 8 were refused", refused)
	}
	r.run()
	h.eventually("the store to be used again", func() bool { ask(); return h.metric("semantic_limits_store_up") == 1 })
}

func TestLimitsStoreThatIsNoneIsNamedWithoutItsPassword(t *testing.T) {
	c := testConfig(&standin{path: "x"})
	c.LimitsStore = "http://:hunter2@host"
	h := start(t, ok)
	h.close()
	if _, err := New(c, h.tlog); err == nil || !strings.Contains(err.Error(), "--limits-store") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
