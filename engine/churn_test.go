package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// TestManyComeAndGoAndNothingIsLeft lets clients of several tenants ask, leave in
// the middle and run into deadlines, over a pool that is too small for them.
func TestManyComeAndGoAndNothingIsLeft(t *testing.T) {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 192})
	cfg.QueueDepth, cfg.KVMemory = 1000, 0
	block := blockSizeOf(t, cfg)
	cfg.KVMemory = 24 * block // two full contexts
	e := startEngine(t, cfg)
	want := map[string]string{}
	bodies := make([]string, 8)
	for i := range bodies {
		bodies[i] = ask(strings.Repeat(string(rune('a'+i)), 10*i+1), 90-i)
		want[bodies[i]] = e.post(completionPath, bodies[i]).text(t)
	}
	e.client.CloseIdleConnections()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	var mu sync.Mutex
	finishes := map[string]int{}
	for worker := range 16 {
		rng := rand.New(rand.NewPCG(1, uint64(worker)))
		wg.Go(func() {
			for range 12 {
				body := bodies[rng.IntN(len(bodies))]
				ctx, cancel := context.WithCancel(t.Context())
				headers := []string{api.HeaderTenant, fmt.Sprint("tenant", worker%3)}
				switch rng.IntN(4) {
				case 0:
					time.AfterFunc(time.Duration(rng.IntN(40))*time.Millisecond, cancel)
				case 1:
					headers = append(headers, api.HeaderDeadline, fmt.Sprint(rng.IntN(60)))
				}
				sent := strings.Replace(body, `{`, fmt.Sprintf(`{"stream":%t,`, rng.IntN(2) == 0), 1)
				r, err := e.do(e.request(ctx, http.MethodPost, completionPath, sent, headers...))
				cancel()
				finish := r.outcome(api.HeaderFinish)
				if err == nil && finish == "length" && r.text(t) != want[body] {
					t.Errorf("an answer changed:\ngot  %q\nwant %q", r.text(t), want[body])
				}
				mu.Lock()
				finishes[finish]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	e.client.CloseIdleConnections()
	e.until("nothing runs or waits", func() bool { s := e.State(); return s.Running+s.Queued == 0 && e.exchanges.count() == 0 })
	if got := e.used(); got != 0 {
		t.Errorf("%d blocks are held", got)
	}
	e.until("the goroutines ended", func() bool { return runtime.NumGoroutine() <= before })
	if finishes["length"] == 0 || finishes["deadline"] == 0 || finishes[""] == 0 || len(e.logLines("preempted")) == 0 {
		t.Errorf("the test did not reach what it tests: %v, %d preemptions", finishes, len(e.logLines("preempted")))
	}
}
