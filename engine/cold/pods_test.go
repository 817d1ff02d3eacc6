package cold_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// prompt is the history of a conversation at a turn: each goes on from the one before it.
func prompt(name string, turn int) string {
	text := "The story of " + name + ". "
	for i := range turn {
		text += fmt.Sprintf("Chapter %d of %s, in which %s. ", i+1, name, strings.Repeat("something happens ", 6))
	}
	return text
}

// fresh is what a pod says that has nothing cached.
func fresh(t *testing.T, lone *pod, text string) string {
	t.Helper()
	if status, _, body := lone.call(http.MethodPost, "/admin/cache/flush", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	answer, cached := lone.ask("", text)
	if cached != 0 {
		t.Fatalf("%d tokens are cached after a flush", cached)
	}
	return answer
}

// everyStore runs a test with each kind of store.
func everyStore(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("file", func(t *testing.T) {
		address, _ := folderStore(t)
		test(t, address)
	})
	t.Run("s3", func(t *testing.T) { test(t, newS3(t).address) })
}

// An agent that was made on one pod goes on on another, with what it has read and said cached
// there, and the answers of a pod that knows nothing.
func TestAgentGoesOnOnAnotherPod(t *testing.T) {
	everyStore(t, func(t *testing.T, store string) {
		a, b, lone := startPod(t, store), startPod(t, store), startPod(t, "")
		a.ask("anna", prompt("Anna", 3))
		a.settled()
		whole := a.prompt / 16 * 16
		want := fresh(t, lone, prompt("Anna", 4))
		text, cached := b.ask("anna", prompt("Anna", 4))
		if text != want || cached < whole {
			t.Errorf("%q with %d tokens cached, want %q with %d", text, cached, want, whole)
		}
		if n := b.metric(`semantic_cache_hit_total{tier="cold"}`); n != 1 {
			t.Errorf("%g hits of the cold tier were counted", n)
		}
		// What belongs to another tenant or has another name is not found.
		if _, cached := b.ask("hanna", prompt("Hanna", 4)); cached != 0 {
			t.Errorf("another agent had %d tokens cached", cached)
		}
		// By its id it is found, also before it came to a pod.
		a.ask("bert", prompt("Bert", 3))
		a.settled()
		status, _, body := b.call(http.MethodGet, "/v1/agents/bert", "", api.HeaderTenant, "acme")
		if status != http.StatusOK || !strings.Contains(body, `"tier":"cold"`) {
			t.Errorf("%d %s", status, body)
		}
		if status, _, body = b.call(http.MethodGet, "/v1/agents/bert", "", api.HeaderTenant, "other"); status != http.StatusNotFound {
			t.Errorf("another tenant sees %d %s", status, body)
		}
		status, header, body := b.call(http.MethodPost, "/v1/agents/bert/generate", fmt.Sprintf(`{"prompt":%q,"max_tokens":4}`, prompt("Bert", 4)), api.HeaderTenant, "acme")
		if status != http.StatusOK || header.Get(api.HeaderCachedTokens) == "0" {
			t.Errorf("%d %s, %s tokens cached", status, body, header.Get(api.HeaderCachedTokens))
		}
	})
}

// A pod that gets SIGTERM writes what the store lacks before it ends.
func TestAgentsReachTheStoreAtSIGTERM(t *testing.T) {
	everyStore(t, func(t *testing.T, store string) {
		a, b := startPod(t, store, "--cold-after", "1h"), startPod(t, store)
		for i := range 5 {
			a.ask(fmt.Sprint("agent", i), prompt(fmt.Sprint(i), 3))
		}
		a.terminate()
		if !a.logged(`"left":0`) {
			t.Error("the log does not say that all were written")
		}
		for i := range 5 {
			if _, cached := b.ask(fmt.Sprint("agent", i), prompt(fmt.Sprint(i), 4)); cached < a.prompt/16*16-16 {
				t.Errorf("agent %d: %d tokens are cached", i, cached)
			}
		}
	})
}

// A pod that is killed in the middle of a write loses nothing that it had written before. The
// other one goes on with that, never waits for the dead one's lease in a turn, and writes as soon
// as it is over.
func TestPodKilledWhileItWritesLosesNothing(t *testing.T) {
	s := newS3(t)
	const timeout = "2s"
	a, b, lone := startPod(t, s.address, "--cold-timeout", timeout), startPod(t, s.address, "--cold-timeout", timeout), startPod(t, "")
	a.ask("anna", prompt("Anna", 3))
	a.settled()
	whole := a.prompt / 16 * 16
	before := s.keys(".kv")
	if len(before) != 1 {
		t.Fatalf("%v were written", before)
	}
	reached, release := s.hold(t, func(r *http.Request) bool { return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".kv") })
	a.ask("anna", prompt("Anna", 4))
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("the write did not begin")
	}
	a.kill()
	s.hold(t, func(*http.Request) bool { return false })
	if n := len(s.keys(".lease")); n != 2 {
		t.Fatalf("%d leases, want that of the write that was killed too", n)
	}
	killed := time.Now()
	text, cached := b.ask("anna", prompt("Anna", 5))
	if want := fresh(t, lone, prompt("Anna", 5)); text != want || cached < whole {
		t.Errorf("%q with %d tokens cached, want %q with %d", text, cached, want, whole)
	}
	b.settled()
	if took := time.Since(killed); took < 4*time.Second {
		t.Errorf("the dead pod's lease was taken for over after %s", took)
	}
	if b.metric("semantic_cold_lease_waits_total") == 0 {
		t.Error("it did not wait for the lease")
	}
	after := s.keys(".kv")
	last := after[len(after)-1]
	if generation(t, last) < generation(t, before[0])+2 {
		t.Errorf("written were %v", after)
	}
	// What the dead one sent comes in after all. It is of a generation that is past.
	release()
	// The pod that comes back finds that the other one went on.
	a.start()
	whole = b.prompt / 16 * 16
	text, cached = a.ask("anna", prompt("Anna", 6))
	if want := fresh(t, lone, prompt("Anna", 6)); text != want || cached < whole {
		t.Errorf("%q with %d tokens cached, want %q with %d", text, cached, want, whole)
	}
}

// Two pods that are asked by turns, and at once, give the answers of a pod that knows nothing,
// and no generation is written twice.
func TestPodsThatTakeTurnsNeverWriteOneGeneration(t *testing.T) {
	s := newS3(t)
	a, b, lone := startPod(t, s.address), startPod(t, s.address), startPod(t, "")
	pods := []*pod{a, b}
	served := 0
	for turn := range 24 {
		text := prompt("Anna", 1+turn/2)
		if turn%5 == 4 {
			text = prompt("Bert", 1+turn/2) // the history is another
		}
		want := fresh(t, lone, text)
		if turn%4 == 3 { // both at once
			type answer struct{ text string }
			other := make(chan answer, 1)
			go func() {
				said, _ := b.ask("anna", text)
				other <- answer{said}
			}()
			if said, _ := a.ask("anna", text); said != want {
				t.Errorf("turn %d: %q, want %q", turn, said, want)
			}
			if said := (<-other).text; said != want {
				t.Errorf("turn %d, the other pod: %q, want %q", turn, said, want)
			}
			continue
		}
		said, cached := pods[turn%2].ask("anna", text)
		if said != want {
			t.Errorf("turn %d: %q, want %q", turn, said, want)
		}
		if cached > 0 {
			served++
		}
		if turn%3 == 0 {
			pods[turn%2].settled()
		}
	}
	a.settled()
	b.settled()
	seen := map[uint64]string{}
	for _, key := range s.keys(".kv") {
		n := generation(t, key)
		if other, twice := seen[n]; twice {
			t.Errorf("generation %d was written as %s and as %s", n, other, key)
		}
		seen[n] = key
	}
	leases := map[string]bool{}
	for _, key := range s.keys(".lease") {
		if leases[key] {
			t.Errorf("%s was created twice", key)
		}
		leases[key] = true
	}
	written := a.metric("semantic_cold_written_total") + b.metric("semantic_cold_written_total")
	if len(seen) < 6 || int(written) > len(seen) {
		t.Errorf("%d generations were written, and %g taken for written", len(seen), written)
	}
	if served < 10 {
		t.Errorf("%d turns had something cached", served)
	}
	if left := withSuffix(objects(t, s.address), ".kv"); len(left) != 1 {
		t.Errorf("the store keeps %v", left)
	}
}

// A store that goes away costs no request anything, is told, and is caught up with when it is
// back.
func TestRequestsGoOnWhileTheStoreIsAway(t *testing.T) {
	address, dir := folderStore(t)
	a, b := startPod(t, address), startPod(t, address)
	a.ask("anna", prompt("Anna", 3))
	a.settled()
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(away) })
	for i := range 3 {
		if text, _ := a.ask("anna", prompt("Anna", 4+i)); text == "" {
			t.Error("no answer")
		}
		b.ask(fmt.Sprint("other", i), prompt("Other", 3))
	}
	for _, p := range []*pod{a, b} {
		p.await("the pod sees that the store is away", func() bool { return p.metric("semantic_cold_up") == 0 })
		p.await("it is behind", func() bool {
			return p.metric("semantic_cold_lag_seconds") > 0 && p.metric("semantic_cold_pending_agents") > 0
		})
		if !p.logged("the cold store does not answer") {
			t.Error("it is not logged")
		}
	}
	// What this pod has is served and shown; what only the store may have cannot be told.
	if status, _, body := a.call(http.MethodGet, "/v1/agents/anna", "", api.HeaderTenant, "acme"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := b.call(http.MethodGet, "/v1/agents/anna", "", api.HeaderTenant, "acme"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := a.call(http.MethodDelete, "/v1/agents/anna", "", api.HeaderTenant, "acme"); status != http.StatusServiceUnavailable {
		t.Errorf("an agent that may be in the store is said to be deleted: %d %s", status, body)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	a.settled()
	b.settled()
	if n := len(withSuffix(objects(t, address), ".kv")); n != 4 {
		t.Errorf("%d agents are in the store, want 4", n)
	}
	if a.metric("semantic_cold_lag_seconds") != 0 || a.metric("semantic_cold_up") != 1 || !a.logged("the cold store answers") {
		t.Error("it does not say that all is well again")
	}
}

// A server that is gone, and one that accepts connections and says nothing, cost a turn
// --cold-patience at most, and then nothing.
func TestStoreThatSaysNothingIsNotWaitedForTwice(t *testing.T) {
	s := newS3(t)
	p := startPod(t, s.address, "--cold-patience", "1s")
	p.ask("anna", prompt("Anna", 3))
	p.settled()
	_, release := s.hold(t, func(*http.Request) bool { return true })
	defer release()
	began := time.Now()
	p.ask("bert", prompt("Bert", 3))
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the first turn took %s", took)
	}
	p.await("the pod sees that the store is away", func() bool { return p.metric("semantic_cold_up") == 0 })
	looks := s.looks()
	for i := range 5 {
		p.ask(fmt.Sprint("other", i), prompt("Other", 3))
	}
	if n := s.looks(); n != looks {
		t.Errorf("a store that is away was asked for %d agents", n-looks)
	}
}

// An object that is not what was written is refused and counted; the answer is computed, and the
// next state takes its place.
func TestCorruptObjectIsRefusedAndReplaced(t *testing.T) {
	address, dir := folderStore(t)
	a, lone := startPod(t, address), startPod(t, "")
	a.ask("anna", prompt("Anna", 3))
	a.settled()
	want := fresh(t, lone, prompt("Anna", 4))
	keys := withSuffix(objects(t, address), ".kv")
	if len(keys) != 1 {
		t.Fatalf("%v", keys)
	}
	path := filepath.Join(dir, keys[0])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 4
	for reason, content := range map[string][]byte{"checksum": flipped, "torn": whole[:len(whole)-100]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b := startPod(t, address, "--cold-after", "1h")
		if text, cached := b.ask("anna", prompt("Anna", 4)); text != want || cached != 0 {
			t.Errorf("%s: %q with %d tokens cached, want %q", reason, text, cached, want)
		}
		if n := b.metric(`semantic_cold_refused_total{reason="` + reason + `"}`); n != 1 {
			t.Errorf("%s: %g were counted", reason, n)
		}
		b.kill()
	}
	c := startPod(t, address)
	c.ask("anna", prompt("Anna", 4))
	c.settled()
	if left := withSuffix(objects(t, address), ".kv"); len(left) != 1 || generation(t, left[0]) != generation(t, keys[0])+1 {
		t.Errorf("the store keeps %v", left)
	}
	if text, cached := startPod(t, address).ask("anna", prompt("Anna", 4)); text != want || cached == 0 {
		t.Errorf("%q with %d tokens cached after it was replaced", text, cached)
	}
}

// What is deleted on one pod is gone on all, in every tier, and stays so when a pod comes back
// that had it on its disk; one that is made anew after it is another.
func TestAgentDeletedOnOnePodIsGoneOnAll(t *testing.T) {
	store := newS3(t).address
	a, b := startPod(t, store), startPod(t, store)
	late := startPod(t, store)
	for _, agent := range []string{"anna", "bert"} {
		a.ask(agent, prompt(agent, 3))
		a.settled()
		b.ask(agent, prompt(agent, 4))
		b.settled()
		late.ask(agent, prompt(agent, 5))
		late.settled()
	}
	late.terminate()
	if status, _, body := a.call(http.MethodDelete, "/v1/agents/anna", "", api.HeaderTenant, "acme"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if keys := withSuffix(objects(t, store), ".kv"); len(keys) != 1 {
		t.Errorf("the store keeps %v", keys)
	}
	gone := func(p *pod) bool {
		files, err := filepath.Glob(filepath.Join(p.dir, "agents", "*", "*", "*.kv"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, list := p.call(http.MethodGet, "/v1/agents", "", api.HeaderTenant, "acme")
		return len(files) <= 1 && !strings.Contains(list, "anna")
	}
	b.await("the other pod has dropped it, asked or not", func() bool { return gone(b) })
	late.start()
	late.await("the pod that comes back drops it", func() bool { return gone(late) })
	for _, p := range []*pod{a, b, late} {
		if status, _, body := p.call(http.MethodGet, "/v1/agents/anna", "", api.HeaderTenant, "acme"); status != http.StatusNotFound {
			t.Errorf("%d %s", status, body)
		}
		if status, _, _ := p.call(http.MethodGet, "/v1/agents/bert", "", api.HeaderTenant, "acme"); status != http.StatusOK {
			t.Error("another agent is gone too")
		}
	}
	if _, cached := b.ask("anna", prompt("anna", 5)); cached != 0 {
		t.Errorf("%d tokens of a deleted agent are cached", cached)
	}
	b.settled()
	if _, cached := a.ask("anna", prompt("anna", 6)); cached < 400 {
		t.Errorf("the new agent of that name has %d tokens cached on the other pod", cached)
	}
}

// With a key what lies in the store is encrypted, names included, and pods that have another key
// share nothing.
func TestStoreHoldsNothingReadableWithAKey(t *testing.T) {
	address, dir := folderStore(t)
	key := func(c string) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(strings.Repeat(c, 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := key("1"), key("2")
	a := startPod(t, address, "--cache-key-file", one)
	a.ask("annabelle", prompt("Anna", 3))
	a.settled()
	for _, o := range objects(t, address) {
		b, err := os.ReadFile(filepath.Join(dir, o.Key))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(o.Key, "annabelle") || strings.Contains(o.Key, "acme") || strings.Contains(string(b), "annabelle") || strings.Contains(string(b), "acme") {
			t.Errorf("%s names the agent or its tenant", o.Key)
		}
	}
	if _, cached := startPod(t, address, "--cache-key-file", two).ask("annabelle", prompt("Anna", 4)); cached != 0 {
		t.Errorf("%d tokens are cached with another key", cached)
	}
	if _, cached := startPod(t, address, "--cache-key-file", one).ask("annabelle", prompt("Anna", 4)); cached == 0 {
		t.Error("nothing is cached with the same key")
	}
}

// A pod whose own disk was lost, or is too small, finds its agents in the store.
func TestAgentOutlivesItsPodsDisk(t *testing.T) {
	address, _ := folderStore(t)
	a := startPod(t, address)
	a.ask("anna", prompt("Anna", 3))
	a.settled()
	a.terminate()
	if err := os.RemoveAll(filepath.Join(a.dir, "agents")); err != nil {
		t.Fatal(err)
	}
	a.start()
	if _, cached := a.ask("anna", prompt("Anna", 4)); cached < 300 {
		t.Errorf("%d tokens are cached", cached)
	}
}

// What an engine could not write before it was killed is written by the next one on its disk.
func TestWhatWasLeftUnwrittenIsWrittenLater(t *testing.T) {
	address, dir := folderStore(t)
	a := startPod(t, address)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	a.ask("anna", prompt("Anna", 3))
	a.await("it is on disk", func() bool { return a.metric("semantic_cache_persist_duration_seconds_count") == 1 })
	a.terminate()
	if !a.logged(`"waiting":1,"written":0,"left":1`) {
		t.Error("the log does not tell what is left")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.await("it is in the store", func() bool { return len(withSuffix(objects(t, address), ".kv")) == 1 })
}

// A store that would let two pods write one object is not used, and the log says why.
func TestStoreWithoutConditionalWritesIsNotUsed(t *testing.T) {
	s := newS3(t)
	s.unfit = true
	p := startPod(t, s.address)
	p.ask("anna", prompt("Anna", 3))
	p.await("the log says why", func() bool { return p.logged("no conditional writes") })
	if p.metric("semantic_cold_up") != 0 || len(s.keys(".lease")) != 0 {
		t.Error("it is used")
	}
}

// What is old and what is too much leaves the store.
func TestStoreKeepsToItsTimeAndQuota(t *testing.T) {
	address, dir := folderStore(t)
	a := startPod(t, address)
	for i := range 4 {
		a.ask(fmt.Sprint("agent", i), prompt(fmt.Sprint(i), 3))
		a.settled()
	}
	a.terminate()
	all := withSuffix(objects(t, address), ".kv")
	if len(all) != 4 {
		t.Fatalf("%v", all)
	}
	for i, key := range all {
		when := time.Now().Add(-time.Duration(4-i) * time.Minute)
		if i == 2 {
			when = time.Now().Add(-3 * time.Hour)
		}
		if err := os.Chtimes(filepath.Join(dir, key), when, when); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, all[0]))
	if err != nil {
		t.Fatal(err)
	}
	b := startPod(t, address, "--cache-ttl", "1h", "--cold-quota", fmt.Sprint(2*info.Size()+100))
	b.await("two are left", func() bool { return len(withSuffix(objects(t, address), ".kv")) == 2 })
	if left := withSuffix(objects(t, address), ".kv"); left[0] != all[1] || left[1] != all[3] {
		t.Errorf("%v are left of %v", left, all)
	}
	b.await("both are counted", func() bool {
		return b.metric("semantic_cold_expired_total") == 1 && b.metric(`semantic_eviction_total{tier="cold"}`) == 1
	})
}
