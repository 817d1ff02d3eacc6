package e2e

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// redisServer is Debian's, on a port of its own.
type redisServer struct {
	*process
	url string
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	p, err := runBinary(path, dir, nil, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return &redisServer{p, fmt.Sprintf("redis://%s/0", address(port))}
}

// flood asks both pods with one key, more than they let through, and tells when each
// request that was admitted was answered.
type flood struct {
	pods [2]*pod
	key  string

	mu       sync.Mutex
	admitted []time.Time
	refused  int
	faults   []string
}

func (f *flood) ask(p *pod) {
	r := p.call(http.MethodGet, "/v1/models", "", "Authorization", "Bearer "+f.key)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.status {
	case http.StatusOK:
		f.admitted = append(f.admitted, time.Now())
	case http.StatusTooManyRequests:
		f.refused++
	default:
		f.faults = append(f.faults, fmt.Sprintf("%d %s %v", r.status, r.body, r.err))
	}
}

// rate is how many requests a second were admitted in a window that ends now.
func (f *flood) rate(window time.Duration) float64 {
	time.Sleep(window)
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.admitted[len(f.admitted)-1]
	first := len(f.admitted) - 1
	for first > 0 && end.Sub(f.admitted[first]) < window {
		first--
	}
	return float64(len(f.admitted)-1-first) / end.Sub(f.admitted[first]).Seconds()
}

// fellBack is how many requests the pods decided on without the store.
func (f *flood) fellBack(t *testing.T) (n float64) {
	t.Helper()
	for _, p := range f.pods {
		n += p.scrape(t).of(t, "semantic_limits_store_fallbacks_total")
	}
	return n
}

// storeUp is how many of the pods reach the store.
func (f *flood) storeUp(t *testing.T) (n float64) {
	t.Helper()
	for _, p := range f.pods {
		n += p.scrape(t).of(t, "semantic_limits_store_up")
	}
	return n
}

// TestTwoPodsAdmitAKeysRateInSum floods two pods that share their limits in one redis
// with one key: together they admit its rate. When the redis dies each pod holds to the
// rate by itself, and says so.
func TestTwoPodsAdmitAKeysRateInSum(t *testing.T) {
	const rate, window = 50, 6 * time.Second
	redis := startRedis(t)
	f := &flood{key: "the-flood's-key-0123456789"}
	keys := filepath.Join(shortDir(t), "keys.yaml")
	text := fmt.Sprintf("keys:\n  - name: ci\n    tenant: acme\n    sha256: %x\n    requests_per_second: %d\n    burst: 20\n", sha256.Sum256([]byte(f.key)), rate)
	if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range f.pods {
		f.pods[i] = newPod(t, "--model", "semantic-builtin", "--key-file", keys, "--limits-store", redis.url)
	}
	await(t, "both pods to use the redis", func() bool { return f.storeUp(t) == 2 })
	// More ask than can wait in the line, so that it is never empty.
	const clients = 60
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f.ask(f.pods[i%2])
					time.Sleep(30 * time.Millisecond)
				}
			}
		})
	}
	defer wg.Wait()
	defer close(stop)
	await(t, "a flood", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.refused > 20 && len(f.admitted) > 50 })

	together := f.measured(t, window, rate, 0.02)
	t.Logf("together %.2f a second of %d", together, rate)

	_ = redis.cmd.Process.Kill()
	await(t, "both pods to miss the redis", func() bool { return f.storeUp(t) == 0 })
	before := f.fellBack(t)
	apart := f.rate(window)
	t.Logf("without the redis %.2f a second of %d each", apart, rate)
	if apart < 1.5*rate || apart > 2*rate*1.05 {
		t.Errorf("each pod by itself: %.2f a second in sum, want about %d", apart, 2*rate)
	}
	if f.fellBack(t) <= before {
		t.Error("decisions without the redis are not counted")
	}
	for _, p := range f.pods {
		if log, err := os.ReadFile(p.log("proxy")); err != nil || !strings.Contains(string(log), "--limits-store is away") {
			t.Errorf("the log does not tell of the redis: %v", err)
		}
	}
	if len(f.faults) > 0 {
		t.Errorf("%d answers were neither: %v", len(f.faults), f.faults[0])
	}
}

// measured is the rate of a window in which every decision was the store's: a machine
// that is so busy that the store does not answer in time shows nothing, and neither does
// a window in which the clients did not get to ask.
func (f *flood) measured(t *testing.T, window time.Duration, rate, tolerance float64) float64 {
	t.Helper()
	const tries = 5
	var got float64
	for range tries {
		before := f.fellBack(t)
		got = f.rate(window)
		if f.fellBack(t) > before {
			t.Log("the redis did not answer in time")
			continue
		}
		if got > rate*(1+tolerance) {
			t.Fatalf("%.2f requests a second, above %.0f by more than %.0f %%", got, rate, 100*tolerance)
		}
		if got >= rate*(1-tolerance) {
			return got
		}
		t.Logf("%.2f a second: the clients let turns pass", got)
	}
	t.Fatalf("%.2f requests a second after %d windows, below %.0f by more than %.0f %%", got, tries, rate, 100*tolerance)
	return 0
}
