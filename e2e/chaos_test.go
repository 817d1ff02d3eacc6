package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

var (
	chaosFor  = flag.Duration("chaos", 20*time.Second, "how long TestChaos goes on")
	chaosSeed = flag.Uint64("chaos-seed", 1, "what TestChaos's chances are drawn from")
)

// TestChaos kills and pauses the engine at random while clients ask, leave, stall in
// the middle of a body and send nonsense. Then it counts: each request has exactly
// one line and one class, the class fits what its client saw, the classes add up to
// the requests sent, and the proxy is as empty as it was.
func TestChaos(t *testing.T) {
	p := newPod(t, "--read-timeout", "1s", "--write-timeout", "3s", "--idle-timeout", "2s", "--request-timeout", "20s", "--log-rotate-bytes", "512MiB")
	p.mustGenerate(t, chat("Hi.", 2))
	before, warm := p.proxyUse(t), p.scrape(t)
	t.Logf("before: %v", before)

	const clients = 12
	end := time.Now().Add(*chaosFor)
	results := make([]*chaosClient, clients)
	var wg sync.WaitGroup
	for i := range results {
		c := &chaosClient{p: p, n: i, rand: rand.New(rand.NewPCG(*chaosSeed, uint64(i))), saw: map[string]sight{}}
		results[i] = c
		wg.Go(func() {
			for time.Now().Before(end) {
				c.act()
			}
			c.hangUp()
		})
	}
	kills, pauses := tormentEngine(t, p, end)
	wg.Wait()

	await(t, "the engine to be back", func() bool { return p.health("ready").status == 200 })
	await(t, "all requests to have ended", func() bool { return p.scrape(t).of(t, "semantic_requests_in_flight") == 0 })
	p.checkClasses(t, warm, results)
	t.Logf("%d kills, %d pauses", kills, pauses)
	p.checkLeftovers(t, before)
	if g := p.mustGenerate(t, chat(italy, 20)); g.text == "" {
		t.Error("the pod answers nothing after it")
	}
}

// tormentEngine kills or pauses the engine every few seconds.
func tormentEngine(t *testing.T, p *pod, end time.Time) (kills, pauses int) {
	chance := rand.New(rand.NewPCG(*chaosSeed, 99))
	for time.Now().Before(end) {
		time.Sleep(min(time.Duration(500+chance.IntN(3500))*time.Millisecond, time.Until(end)))
		pid := p.childPID("engine")
		if !alive(pid) {
			continue
		}
		if chance.IntN(3) == 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // may have died by itself meanwhile
			kills++
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(time.Duration(50+chance.IntN(2500)) * time.Millisecond)
		_ = syscall.Kill(pid, syscall.SIGCONT)
		pauses++
	}
	if kills == 0 || pauses == 0 {
		t.Errorf("%d kills, %d pauses: the run was too short", kills, pauses)
	}
	return kills, pauses
}

// checkClasses holds the log, the metrics and what the clients saw together.
func (p *pod) checkClasses(t *testing.T, warm scrape, clients []*chaosClient) {
	t.Helper()
	saw, sent := map[string]sight{}, 0
	for _, c := range clients {
		sent += len(c.saw)
		for id, s := range c.saw {
			saw[id] = s
		}
		for _, fault := range c.faults {
			t.Error(fault)
		}
	}
	classes, lines := map[string]int{}, map[string]int{}
	for _, l := range mustReadLogs(t, p.logDir(), "proxy") {
		id := l.str("request_id")
		s, ours := saw[id]
		if l.str("msg") != "request" || !ours {
			continue
		}
		finish := l.str("finish")
		classes[finish]++
		if lines[id]++; lines[id] > 1 {
			t.Errorf("%s has more than one line", id)
		}
		if !s.fits(api.Finish(finish)) {
			t.Errorf("%s ended in %s (status %v), and its client saw %v", id, finish, l["status"], s)
		}
	}
	for id, s := range saw {
		if lines[id] == 0 {
			t.Errorf("%s has no line; its client saw %v", id, s)
		}
	}
	now := p.scrape(t)
	total := now.sum("semantic_finish_total") - warm.sum("semantic_finish_total")
	if int(total) != sent {
		t.Errorf("%v ends were counted, %d requests were sent", total, sent)
	}
	for _, f := range api.Finishes {
		if counted := now[finishes(f)] - warm[finishes(f)]; int(counted) != classes[string(f)] {
			t.Errorf("%s: %v counted, %d in the log", f, counted, classes[string(f)])
		}
	}
	t.Logf("%d requests sent: %v", sent, classes)
}

// use is what the proxy's process holds.
type use struct {
	goroutines, files int
	memory            int64 // bytes resident
}

func (u use) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MiB", u.goroutines, u.files, float64(u.memory)/(1<<20))
}

// proxyUse looks at the proxy when none of our own connections is open.
func (p *pod) proxyUse(t *testing.T) use {
	t.Helper()
	p.client.CloseIdleConnections()
	pid := p.childPID("proxy")
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := p.scrape(t)
	return use{
		goroutines: int(m.of(t, `go_goroutines{process="proxy"}`)), files: len(files),
		memory: int64(m.of(t, `process_resident_memory_bytes{process="proxy"}`)),
	}
}

// leftMemory is how much more the proxy may hold after the chaos than before the
// first load: buffers that are kept for the next one.
const leftMemory = 48 << 20

func (p *pod) checkLeftovers(t *testing.T, before use) {
	t.Helper()
	var after use
	// Idle connections to the engine are kept for --idle-timeout.
	if !within(patience, func() bool {
		after = p.proxyUse(t)
		return after.goroutines <= before.goroutines && after.files <= before.files && after.memory <= before.memory+leftMemory
	}) {
		t.Errorf("left behind: before %v, after %v", before, after)
	}
	t.Logf("after: %v", after)
	await(t, "the engine to have nothing to do", func() bool {
		s := engineState(t, p)
		return s.Running == 0 && s.Queued == 0
	})
}
