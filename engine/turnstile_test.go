package engine

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// TestRequestsWaitInAFairQueueForAnUpstream lets one request run at a time.
func TestRequestsWaitInAFairQueueForAnUpstream(t *testing.T) {
	release := make(chan struct{})
	up := startFaulty(t, "vllm", func(w http.ResponseWriter, r *http.Request, a map[string]any) { <-release; sound(w, r, a) })
	cfg := remoteConfig(t, up.URL)
	cfg.MaxBatch, cfg.QueueDepth = 1, 2
	e := startRemote(t, cfg)
	var wg sync.WaitGroup
	var ok, shed atomic.Int64
	ask := func(tenant string) {
		wg.Go(func() {
			switch r := e.post(chatPath, greeting, api.HeaderTenant, tenant); r.status {
			case http.StatusOK:
				ok.Add(1)
			case http.StatusServiceUnavailable:
				if r.error(t).Error.Code == "overloaded" && r.header.Get("Retry-After") != "" && r.outcome(api.HeaderFinish) == "shed" {
					shed.Add(1)
				}
			}
		})
	}
	ask("greedy")
	e.until("one runs", func() bool { return up.calls.Load() == 1 })
	for i := range 2 {
		ask("greedy")
		e.until("they wait", func() bool { return e.State().Queued == i+1 })
	}
	ask("greedy") // the queue is full of its own
	e.until("the fourth is refused", func() bool { return shed.Load() == 1 })
	ask("modest") // takes the place of the newest of the greedy one's
	e.until("one of the greedy tenant's makes room", func() bool { return shed.Load() == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = e.do(e.request(ctx, http.MethodPost, chatPath, greeting))
	close(release)
	wg.Wait()
	if ok.Load() != 3 || shed.Load() != 2 {
		t.Errorf("%d answered, %d refused", ok.Load(), shed.Load())
	}
	e.until("nobody is left", func() bool { q, in := e.remote().gate.counts(); return q+in == 0 && e.remote().running.count() == 0 })
}

// TestALeftTicketGivesItsPlaceBack has many come and go at the turnstile at once.
func TestALeftTicketGivesItsPlaceBack(t *testing.T) {
	s := &turnstile{depth: 50, capacity: func() int { return 3 }}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration((i*j)%7)*100*time.Microsecond)
				if ticket, err := s.line(string(rune('a' + i%5))); err == nil {
					if in, _ := s.enter(ctx, ticket); in {
						if _, inside := s.counts(); inside > 3 {
							t.Errorf("%d inside", inside)
						}
						time.Sleep(50 * time.Microsecond)
						s.leave(time.Microsecond)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if q, in := s.counts(); q+in != 0 {
		t.Errorf("%d wait and %d are inside when all have left", q, in)
	}
}
