package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
)

// openFiles returns how many files and sockets this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestAgentsComeAndGoAndEveryAnswerIsAFreshEnginesAnswer lets agents of two tenants
// come back, be evicted, be deleted, leave in the middle and run into deadlines, over
// a pool and a disk that are too small for them and an engine that is stopped and
// started again.
func TestAgentsComeAndGoAndEveryAnswerIsAFreshEnginesAnswer(t *testing.T) {
	const agents, depth, lives, each = 10, 4, 3, 20 // turns of a client in each of the engine's lives
	cfg := agentConfig(t)
	cfg.KVMemory = config.Size(90 * int(blockSizeOf(t, cfg)))
	cfg.CacheDisk, cfg.QueueDepth = config.Size(150*int(blockSizeOf(t, cfg))), 1000
	body := func(agent, turn int) string {
		letters := strings.Repeat(string(rune('a'+agent)), 90) + strings.Repeat("- and on ", 4*turn)
		return fmt.Sprintf(`{"model":"default","prompt":%q,"temperature":0.9,"seed":%d,"max_tokens":%d}`, letters, agent, 20+5*turn)
	}
	want := map[string]string{}
	lone := startOnce(t, freshSocket(t, testWithout(cfg)))
	for a := range agents {
		for turn := range depth {
			lone.flush()
			want[body(a, turn)] = lone.post(completionPath, body(a, turn)).text(t)
		}
	}
	lone.stopNow()
	_ = lone.Engine.log.Close() // it has files and goroutines too
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	var mu sync.Mutex
	seen := map[string]float64{}
	for range lives {
		e := startOnce(t, freshSocket(t, cfg))
		var wg sync.WaitGroup
		for worker := range 8 {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(worker)))
			wg.Go(func() {
				for range each {
					finish, cached := e.churn(t, rng, body(rng.IntN(agents), rng.IntN(depth)), want)
					mu.Lock()
					seen[finish]++
					seen["cached"] += cached
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		e.client.CloseIdleConnections()
		e.until("nothing runs or waits", func() bool { s := e.State(); return s.Running+s.Queued == 0 && e.exchanges.count() == 0 })
		if e.used() != 0 {
			t.Errorf("%d blocks are used and nothing runs", e.used())
		}
		for _, series := range []string{`semantic_eviction_total{tier="hot"}`, `semantic_eviction_total{tier="warm"}`, `semantic_cache_hit_total{tier="hot"}`, `semantic_cache_hit_total{tier="warm"}`} {
			seen[series] += e.metric(series)
		}
		e.stopNow()
		e.noBlockIsLost(t)
		_ = e.Engine.log.Close()
	}
	for what, n := range map[string]float64{"length": 100, "": 1, "deadline": 1, "deleted": 1, "cached": 1000, `semantic_eviction_total{tier="hot"}`: 10, `semantic_eviction_total{tier="warm"}`: 1, `semantic_cache_hit_total{tier="hot"}`: 10, `semantic_cache_hit_total{tier="warm"}`: 10} {
		if seen[what] < n {
			t.Errorf("%q came %g times: the test did not reach what it tests", what, seen[what])
		}
	}
	for end := time.Now().Add(testWait); openFiles(t) > files || runtime.NumGoroutine() > goroutines; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d files and %d goroutines, before %d and %d", openFiles(t), runtime.NumGoroutine(), files, goroutines)
		}
	}
}

// churn is one turn of an agent, or its end. It returns how that ended.
func (e *testEngine) churn(t *testing.T, rng *rand.Rand, body string, want map[string]string) (finish string, cached float64) {
	id := fmt.Sprint("agent", strings.IndexByte(body, '"')+int(body[29]))
	headers := as(fmt.Sprint("tenant", rng.IntN(2)), id)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	switch rng.IntN(12) {
	case 0:
		if r := e.call(http.MethodDelete, "/v1/agents/"+id, "", headers[:2]...); r.status == 200 {
			return "deleted", 0
		}
	case 1, 2:
		time.AfterFunc(time.Duration(rng.IntN(15))*time.Millisecond, cancel)
	case 3:
		headers = append(headers, api.HeaderDeadline, fmt.Sprint(rng.IntN(25)))
	}
	sent := strings.Replace(body, `{`, fmt.Sprintf(`{"stream":%t,`, rng.IntN(2) == 0), 1)
	r, err := e.do(e.request(ctx, http.MethodPost, completionPath, sent, headers...))
	finish = r.outcome(api.HeaderFinish)
	if err != nil || finish != "length" {
		return finish, 0
	}
	if got := r.text(t); got != want[body] {
		t.Errorf("an answer changed, %s tokens cached:\ngot  %q\nwant %q", r.outcome(api.HeaderCachedTokens), got, want[body])
	}
	return finish, r.number(t, api.HeaderCachedTokens)
}

// noBlockIsLost lets every agent of a stopped engine go and counts the blocks.
func (e *testEngine) noBlockIsLost(t *testing.T) {
	t.Helper()
	s := e.current().(*native).scheduler
	s.readMail()
	for a := range s.agents.byAge() {
		s.evict(a)
	}
	if s.blocks.Free() != s.blocks.Total() {
		t.Errorf("%d blocks of %d are free after all is over", s.blocks.Free(), s.blocks.Total())
	}
}
