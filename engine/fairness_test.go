package engine

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/model"
)

// TestAThousandQueuedRequestsDelayAnothersSingleOneByOne has one tenant fill the queue, and others come
// with one request each while it is served, some of them at once. Each of theirs is begun after one of
// the thousand at most and one of each tenant that came with it.
func TestAThousandQueuedRequestsDelayAnothersSingleOneByOne(t *testing.T) {
	for _, batch := range []int{1, 4} {
		t.Run(fmt.Sprint("batch of ", batch), func(t *testing.T) { comeAmongAThousand(t, batch) })
	}
}

func comeAmongAThousand(t *testing.T, batch int) {
	const thousand = 1000
	cfg := testConfig(t)
	cfg.MaxBatch, cfg.QueueDepth = batch, thousand+10
	e := newTestEngine(t, cfg)
	e.client.Transport.(*http.Transport).DisableKeepAlives = true
	g := e.hold()
	e.start()
	e.waitReady()
	var all []<-chan reply
	send := func(letter, tenant string) {
		all = append(all, e.async(t.Context(), ask(letter, 1), api.HeaderTenant, tenant))
	}
	queued := func(n int) {
		e.until(fmt.Sprint(n, " wait"), func() bool { return e.State().Queued == n })
	}
	send("B", "big")
	e.until("it runs", func() bool { return g.begun() == 1 })
	for range batch + thousand {
		send("B", "big")
	}
	queued(batch + thousand)
	g.step(1)
	e.until("as many run as may", func() bool { return g.begun() == 2 })
	queued(thousand)
	arrivals := map[string]int{} // of each letter: the steps that had begun when it came
	left, begun := thousand, 2   // of the queue, and steps
	for _, group := range []string{"a", "bcd", "", "e", "fg"} {
		for _, letter := range group {
			arrivals[string(letter)] = begun
			send(string(letter), "tenant "+string(letter))
		}
		left += len(group)
		queued(left)
		for range 8 { // each ends as many as the batch holds, and begins as many
			g.step(1)
			begun++
			e.until("the next step", func() bool { return g.begun() == begun })
			left -= batch
		}
		queued(left)
	}
	g.open()
	for _, a := range all {
		if r := <-a; r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	for letter, arrival := range arrivals {
		order := admitted(g.steps[arrival:])
		at := strings.Index(order, letter)
		if at < 0 {
			t.Errorf("%s was never begun", letter)
			continue
		}
		for other, n := range counts(order[:at]) {
			if n > 1 {
				t.Errorf("%s waited for %d of %s: %s", letter, n, other, order[:at+1])
			}
		}
	}
	if n := counts(admitted(g.steps))["B"]; n != 1+batch+thousand {
		t.Errorf("%d of the big tenant's were begun, want %d", n, 1+batch+thousand)
	}
}

// admitted returns the letters of the prompts that the steps began, in their order.
func admitted(steps [][]model.Row) string {
	var order strings.Builder
	for _, step := range steps {
		for _, row := range step {
			order.WriteString(promptOf(row))
		}
	}
	return order.String()
}

func counts(letters string) map[string]int {
	n := map[string]int{}
	for _, letter := range letters {
		n[string(letter)]++
	}
	return n
}
