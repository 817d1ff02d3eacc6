package proxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

func TestBurstWaitsItsTurnAndMoreIsRefused(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 5", "burst: 2"))
	h := start(t, ok, change)
	began := time.Now()
	replies := burst(h, 5)
	took := time.Since(began)
	if replies[200] != 3 || replies[429] != 2 {
		t.Errorf("statuses %v", replies)
	}
	if took < 380*time.Millisecond {
		t.Errorf("the burst was through after %v", took)
	}
	if got := h.metric(`semantic_rejected_total{reason="requests_per_second"}`); got != 2 {
		t.Errorf("%v counted", got)
	}
	refused := 0
	for _, line := range h.waitLines(5) {
		if line["status"] == 429.0 && line["finish"] == "rejected" && line["key"] == "ci" {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refusals in the log", refused)
	}
}

func burst(h *harness, n int) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range n {
		c := h.dial()
		wg.Go(func() {
			c.send(post("{}", bearer(ownKey)))
			r := c.read()
			mu.Lock()
			defer mu.Unlock()
			statuses[r.status]++
		})
	}
	wg.Wait()
	return statuses
}

func TestNoDelayLetsTheBurstThroughAtOnce(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 0.1", "burst: 2"))
	h := start(t, ok, change, func(c *Config) { c.LimitNoDelay = true })
	began := time.Now()
	if got := burst(h, 5); got[200] != 3 || got[429] != 2 || time.Since(began) > 5*time.Second {
		t.Errorf("statuses %v after %v", got, time.Since(began))
	}
}

func TestRetryAfterIsTheTruth(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 1"))
	h := start(t, ok, change)
	r := h.ask(post("{}", bearer(ownKey)))
	if r.status != 200 || r.header.Get("X-RateLimit-Limit") != "1" || r.header.Get("X-RateLimit-Remaining-Requests") != "0" || r.header.Get("X-RateLimit-Reset") != "1" {
		t.Errorf("%d %v", r.status, r.header)
	}
	r = h.ask(post("{}", bearer(ownKey)))
	if r.status != 429 || r.header.Get("Retry-After") != "1" || r.header.Get("X-RateLimit-Remaining") != "0" ||
		!strings.Contains(r.body, "rate_limit_error") || !strings.Contains(r.body, "requests_per_second") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	time.Sleep(time.Second)
	if r := h.ask(post("{}", bearer(ownKey))); r.status != 200 {
		t.Errorf("after the Retry-After: %d %s", r.status, r.body)
	}
}

func TestClientThatLeavesTheLineIsNotServed(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "requests_per_second: 0.2", "burst: 1"))
	h := start(t, ok, change)
	h.ask(post("{}", bearer(ownKey)))
	c := h.dial()
	c.send(post("{}", bearer(ownKey)))
	h.eventually("the second one's wait", func() bool { return h.slots.taken.Load() == 1 })
	left := time.Now()
	c.Close()
	if line := h.waitLines(2)[1]; line["finish"] != "client_gone" || time.Since(left) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(left), line)
	}
	if n := len(h.engine.requests()); n != 1 {
		t.Errorf("%d requests reached the engine", n)
	}
}

func TestRequestsAtOnceAreBoundedUntilOneEnds(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "max_concurrent: 1"))
	release := make(chan struct{})
	h := start(t, func(k *call) { <-release; ok(k) }, change)
	c := h.dial()
	c.send(post("{}", bearer(ownKey)))
	h.eventually("the first one's work", func() bool { return len(h.engine.requests()) == 1 })
	r := h.ask(postTo("/v1/messages", "{}", bearer(ownKey)))
	if r.status != 429 || !strings.Contains(r.body, "max_concurrent") || !strings.Contains(r.body, `"type":"rate_limit_error"`) || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if got := h.metric(`semantic_key_limit_used_ratio{key="ci"}`); got != 1 {
		t.Errorf("used: %v", got)
	}
	close(release)
	if r := c.read(); r.status != 200 {
		t.Errorf("the first: %d", r.status)
	}
	h.waitLines(2)
	if r := h.ask(post("{}", bearer(ownKey))); r.status != 200 {
		t.Errorf("after it: %d %s", r.status, r.body)
	}
}

func TestTokensAreReservedAndSettledWithTheTrueCounts(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "tokens_per_minute: 1000"))
	h := start(t, func(k *call) {
		k.json(200, `{}`, "Semantic-Finish: length", "Semantic-Prompt-Tokens: 100", "Semantic-Completion-Tokens: 500")
	}, change)
	remaining := func(r reply) (n int) {
		fmt.Sscan(r.header.Get("X-RateLimit-Remaining-Tokens"), &n)
		return n
	}
	near := func(what string, got, want int) {
		t.Helper()
		if got < want || got > want+120 { // the budget fills up by 17 a second
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	allowance := func(i int) (n int) {
		fmt.Sscan(h.engine.requests()[i].header.Get(api.HeaderAllowance), &n)
		return n
	}
	body := `{"n":2,"max_tokens":200,"messages":[{"content":"\"max_tokens\":9"}]}`
	r := h.ask(post(body, bearer(ownKey)))
	near("left while the first runs", remaining(r), 1000-len(body)/4-400)
	if got := allowance(0); got != 400 {
		t.Errorf("the first may make %d tokens", got)
	}
	h.waitLines(1)
	r = h.ask(post(`{"max_tokens":5000}`, bearer(ownKey)))
	near("the second may make what is left", allowance(1), 400-4)
	near("left while it runs", remaining(r), 0)
	h.waitLines(2)
	r = h.ask(post(`{}`, bearer(ownKey)))
	if r.status != 429 || !strings.Contains(r.body, "tokens_per_minute") || r.header.Get("X-RateLimit-Limit-Tokens") != "1000" || r.header.Get("X-RateLimit-Reset-Tokens") == "" {
		t.Errorf("the third: %d %v %s", r.status, r.header, r.body)
	}
	if got := h.ask(get("/v1/models", bearer(ownKey))); got.status != 200 {
		t.Errorf("what makes no tokens: %d", got.status)
	}
}

func TestPromptAboveTheBudgetIsAFaultOfTheRequest(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "tokens_per_minute: 100"))
	h := start(t, ok, change)
	r := h.ask(post(`{"a":"`+strings.Repeat("x", 1000)+`"}`, bearer(ownKey)))
	if r.status != 400 || r.header.Get("Retry-After") != "" || !strings.Contains(r.body, "tokens_per_minute: 100") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
}

func TestStreamThatIsLeftIsChargedForWhatWasSent(t *testing.T) {
	_, change := withKeys(t, keyEntry("ci", ownKey, "tokens_per_minute: 1000"))
	h := start(t, func(k *call) {
		k.startStream()
		for range 400 {
			k.chunk("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n")
		}
		k.waitClosed()
	}, change)
	c := h.dial()
	c.send(post(`{"stream":true,"max_tokens":900}`, bearer(ownKey)))
	buf := make([]byte, 1<<16)
	for got := 0; strings.Count(string(buf[:got]), `"x"`) < 400; {
		n, err := c.in.Read(buf[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	c.Close()
	h.waitLines(1)
	used := h.metric(`semantic_key_limit_used_ratio{key="ci"}`) * 1000
	if used < 200 || used > 400+8 { // it fills up by 17 a second
		t.Errorf("%v tokens were charged", used)
	}
}
