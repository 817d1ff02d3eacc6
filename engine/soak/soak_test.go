package soak

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine/enginetest"
)

var length = flag.Duration("soak", 5*time.Second, "how long the load lasts")

const (
	kvMemory  = "768KiB" // some 190 blocks: four agents or so at their longest
	cacheDisk = 1 << 20  // bytes: some of the 72 agents must go
)

// TestSoak loads two engines, over pools and disks that are too small for their agents.
// One lives through, and must hold no more at its end than at its beginning; the other
// is killed, or ended, and started again over the folder that is left.
func TestSoak(t *testing.T) {
	dir, err := os.MkdirTemp("", "soak") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary, weights := filepath.Join(dir, "semantic"), filepath.Join(dir, "random.gguf")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/semantic-pod/semantic/cmd/semantic").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(weights, enginetest.Bytes(enginetest.Shape{Context: 2048}), 0o600); err != nil {
		t.Fatal(err)
	}
	talks := freshAnswers(t, binary, dir, weights)

	small := []string{"--model", weights, "--kv-memory", kvMemory, "--cache-disk", "1MiB", "--max-batch", "6", "--step-tokens", "48", "--queue-depth", "200"}
	steady := newEngine(t, binary, filepath.Join(dir, "a"), small...)
	doomed := newEngine(t, binary, filepath.Join(dir, "b"), small...)
	steady.start(t)
	doomed.start(t)
	end := time.Now().Add(*length)
	var all, killed tally
	all.seen, killed.seen = map[string]int{}, map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() { steady.liveThrough(t, talks, end, &all) })
	wg.Go(func() { doomed.dieAgainAndAgain(t, talks, end, &killed) })
	wg.Wait()
	doomed.checkFolder(t)
	t.Logf("the engine that lived through: %v", all.seen)
	t.Logf("the engine that was killed: %v", killed.seen)
	for what, c := range map[string]*tally{"cancelled": &all, "deleted": &all, "deadline": &all, "with something cached": &all, "evicted to disk": &all, "read from disk": &all, "killed": &killed, "terminated": &killed, "compared": &killed} {
		if c.seen[what] == 0 {
			t.Errorf("nothing was %s: the soak did not reach what it tests", what)
		}
	}
}

// freshAnswers lets an engine that forgets everything before each turn answer all talks.
func freshAnswers(t *testing.T, binary, dir, weights string) []talk {
	t.Helper()
	e := newEngine(t, binary, filepath.Join(dir, "f"), "--model", weights, "--kv-memory", "8MiB")
	e.start(t)
	talks := make([]talk, agents)
	for i := range talks {
		talks[i] = e.hold(t, i)
	}
	e.terminate(t)
	return talks
}

// crowd are the clients of an engine. Whoever holds the gate keeps them from asking.
func (e *engine) crowd(t *testing.T, talks []talk, end time.Time, c *tally) (gate *sync.RWMutex, wait func()) {
	gate = &sync.RWMutex{}
	var wg sync.WaitGroup
	for range clients {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
		wg.Go(func() {
			for time.Now().Before(end) {
				gate.RLock()
				e.turn(t, rng, talks, c)
				gate.RUnlock()
			}
		})
	}
	return gate, wg.Wait
}

// alone runs f while no client asks anything.
func alone(gate *sync.RWMutex, f func()) {
	gate.Lock()
	defer gate.Unlock()
	f()
}

// liveThrough looks at what the engine holds while nobody asks anything, again and again.
func (e *engine) liveThrough(t *testing.T, talks []talk, end time.Time, c *tally) {
	before := e.holds(t)
	gate, wait := e.crowd(t, talks, end, c)
	var seen []holdings
	look := func() {
		await(t, "nothing runs or waits", func() bool {
			body, err := e.get("/internal/state")
			return err == nil && strings.Contains(body, `"queued":0,"running":0`)
		})
		var h holdings
		await(t, "files and goroutines are as few as before the load", func() bool { // connections take a moment to close, and files to be written
			h = e.holds(t)
			return h.goroutines <= before.goroutines && h.files <= before.files && h.utilization == 0
		})
		seen = append(seen, h)
	}
	every := min(*length/6, 20*time.Second)
	for next := time.Now().Add(every); next.Before(end); next = next.Add(every) {
		time.Sleep(time.Until(next))
		alone(gate, func() {
			look()
			if len(seen)%5 == 0 {
				e.order(t, "/admin/model/offload")
				e.order(t, "/admin/model/load")
				c.add("offloaded and loaded", 1)
			}
		})
	}
	wait()
	look()
	m := e.metrics(t)
	c.add("evicted to disk", int(m[`semantic_eviction_total{tier="hot"}`]))
	c.add("deleted from disk to make room", int(m[`semantic_eviction_total{tier="warm"}`]))
	c.add("read from disk", int(m[`semantic_cache_hit_total{tier="warm"}`]))
	t.Logf("held before: %v", before)
	t.Logf("held first:  %v", seen[0])
	t.Logf("held last:   %v", seen[len(seen)-1])
	third := (len(seen) + 2) / 3
	if first, last := middle(seen[:third]), middle(seen[len(seen)-third:]); last > first+first/5+16<<10 {
		t.Errorf("%d KiB in the first third, %d in the last", first, last)
	}
}

// middle is the median of the memory held.
func middle(all []holdings) int {
	kib := make([]int, len(all))
	for i, h := range all {
		kib[i] = h.anonymous
	}
	slices.Sort(kib)
	return kib[len(kib)/2]
}

// dieAgainAndAgain kills the engine at any moment, or lets it end, and starts it again.
func (e *engine) dieAgainAndAgain(t *testing.T, talks []talk, end time.Time, c *tally) {
	gate, wait := e.crowd(t, talks, end, c)
	for life := 0; time.Now().Before(end) || life < 2; life++ {
		time.Sleep(time.Duration(500+rand.IntN(1500)) * time.Millisecond)
		ends := life%3 == 1
		if !ends {
			e.kill() // with its clients in the middle of their answers
		}
		alone(gate, func() {
			if ends {
				e.terminate(t)
				c.add("terminated", 1)
			} else {
				e.client.CloseIdleConnections()
				c.add("killed", 1)
			}
			e.start(t)
			for series, n := range e.metrics(t) {
				if strings.HasPrefix(series, "semantic_cache_quarantined_total") && n > 0 {
					t.Errorf("%s %g: no kill leaves a bad file under an agent's name", series, n)
				}
			}
		})
	}
	wait()
	e.terminate(t)
}

// checkFolder looks at the agents' folder of an engine that has ended: within its bound,
// and no beginning of a file left.
func (e *engine) checkFolder(t *testing.T) {
	t.Helper()
	size, files := int64(0), 0
	err := filepath.WalkDir(filepath.Join(e.dir, "agents"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		files++
		if strings.Contains(filepath.Base(path), "tmp") {
			t.Errorf("%s is left", path)
		}
		return nil
	})
	if err != nil || files == 0 || size > cacheDisk+64<<10 {
		t.Errorf("%d files of %d bytes in a folder of %d: %v", files, size, cacheDisk, err)
	}
}
