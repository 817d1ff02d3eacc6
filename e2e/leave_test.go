package e2e

import (
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// leaveSoon is how soon a pod must have noticed that a client left. A step takes
// milliseconds; this is for noisy machines.
const leaveSoon = 2 * time.Second

func TestClientThatLeavesFreesItsPlaceAndIsCounted(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	gone := make([]*stream, 3)
	for i := range gone {
		gone[i] = p.mustStream(t, counting(4000))
		gone[i].pieces(t, 2)
	}
	if s := engineState(t, p); s.Running != len(gone) {
		t.Errorf("%d streams are being received and the engine runs %d", len(gone), s.Running)
	}
	stays := p.mustStream(t, counting(60))
	stays.pieces(t, 1)
	for _, s := range gone {
		s.close()
	}
	if !within(leaveSoon, func() bool { return p.scrape(t).of(t, finishes(api.FinishClientGone)) == float64(len(gone)) }) {
		t.Errorf("%s is %v after %s, want %d", finishes(api.FinishClientGone), p.scrape(t).of(t, finishes(api.FinishClientGone)), leaveSoon, len(gone))
	}
	if g := stays.rest(); g.usage.Completion != 60 || !g.done {
		t.Errorf("the client that stayed got %+v", g)
	}
	if !within(leaveSoon, func() bool { s := engineState(t, p); return s.Running == 0 && s.Queued == 0 && s.PoolUtilization == 0 }) {
		t.Errorf("after everyone left the engine is at %+v", engineState(t, p))
	}
	s := p.scrape(t)
	if s.of(t, "semantic_tokens_wasted_total") < 6 {
		t.Errorf("semantic_tokens_wasted_total is %v after three left", s["semantic_tokens_wasted_total"])
	}
	if s.of(t, "semantic_requests_in_flight") != 0 {
		t.Errorf("semantic_requests_in_flight is %v", s["semantic_requests_in_flight"])
	}
}

func TestClientThatLeavesBeforeAWholeAnswerIsCountedToo(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	impatient := *p.client
	impatient.Timeout = 300 * time.Millisecond
	r := callWith(&impatient, "POST", p.url+completionPath, counting(4000).String())
	if r.err == nil {
		t.Fatalf("4,000 tokens were there in 300 ms: %d %.200s", r.status, r.body)
	}
	if !within(leaveSoon, func() bool {
		return p.scrape(t).of(t, finishes(api.FinishClientGone)) == 1 && engineState(t, p).Running == 0
	}) {
		t.Errorf("%s is %v, the engine at %+v", finishes(api.FinishClientGone), p.scrape(t).of(t, finishes(api.FinishClientGone)), engineState(t, p))
	}
}
