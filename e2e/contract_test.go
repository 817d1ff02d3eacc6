package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAgentsMoveWhatTheyMust has more agents than memory, and some come back: each
// eviction, writing and reading is counted once, and what is listed agrees.
func TestAgentsMoveWhatTheyMust(t *testing.T) {
	t.Parallel()
	p := newPod(t, "--context", "512", "--kv-memory", "16MiB")
	turn := func(agent string) generation {
		return p.mustGenerate(t, chat("You are agent "+agent+". "+strings.Repeat("Remember the number seven. ", 16), 4), "X-Agent-ID", agent)
	}
	before := p.scrape(t)
	const agents = 12
	prompt := 0.0
	for i := range agents {
		prompt += float64(turn(fmt.Sprintf("agent-%02d", i)).usage.Prompt)
	}
	moved := func(series string) float64 { return p.scrape(t).of(t, series) - before.of(t, series) }
	evicted := moved(`semantic_eviction_total{tier="hot"}`)
	if evicted < 1 || evicted >= agents {
		t.Fatalf("of %d agents %v were evicted: the pool is of the wrong size for this test", agents, evicted)
	}
	if active := p.scrape(t).of(t, "semantic_agents_active"); active != agents-evicted {
		t.Errorf("%v agents are active after %v of %d were evicted", active, evicted, agents)
	}
	// Those that would be next are written before it is their turn to go.
	if written := moved("semantic_cache_persist_duration_seconds_count"); written < evicted || written > agents {
		t.Errorf("%v of %d agents were evicted, %v writes counted", evicted, agents, written)
	}
	await(t, "the list to agree", func() bool { return p.tiers(t)["warm"] == int(evicted) && p.tiers(t)["hot"] == agents-int(evicted) })

	// The first agent was evicted first. It comes back from disk.
	g := turn("agent-00")
	prompt += float64(g.usage.Prompt)
	for series, want := range map[string]float64{
		`semantic_cache_hit_total{tier="warm"}`:        1,
		`semantic_agent_restore_seconds_count`:         1,
		`semantic_prompt_tokens_total`:                 prompt,
		`semantic_persist_failures_total{reason="io"}`: 0,
		`semantic_tokens_wasted_total`:                 0,
	} {
		if _, there := before[series]; !there && want == 0 {
			continue
		}
		if got := moved(series); got != want {
			t.Errorf("%s moved by %v, want %v", series, got, want)
		}
	}
	if cached, computed := moved("semantic_prompt_tokens_cached_total"), moved("semantic_prompt_tokens_computed_total"); cached+computed != prompt || cached < float64(g.usage.Prompt)/2 {
		t.Errorf("of %v prompt tokens %v were cached and %v computed", prompt, cached, computed)
	}
	if hits := p.scrape(t).sum("semantic_cache_hit_total") - before.sum("semantic_cache_hit_total") + moved("semantic_cache_miss_total"); hits != agents+1 {
		t.Errorf("%v hits and misses of %d turns", hits, agents+1)
	}
}

// tiers counts the agents that are listed, by tier.
func (p *pod) tiers(t *testing.T) map[string]int {
	t.Helper()
	var list struct{ Data []struct{ Tier string } }
	if r := p.call(http.MethodGet, "/v1/agents", ""); r.err != nil || json.Unmarshal([]byte(r.body), &list) != nil {
		t.Fatalf("%v %s", r.err, r.body)
	}
	n := map[string]int{}
	for _, one := range list.Data {
		n[one.Tier]++
	}
	return n
}

// from is a client whose connections come from one of loopback's addresses.
func from(address string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// TestEachRefusalIsCountedUnderItsReason runs into every limit that there is, one
// after the other, and wants that reason moved by just that, and no other.
func TestEachRefusalIsCountedUnderItsReason(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	file := filepath.Join(dir, "own-keys.yaml")
	key := func(name string, limits ...string) string {
		out := keysCommand(t, dir, append([]string{"create", "--key-file", file, "--name", name}, limits...)...)
		for word := range strings.FieldsSeq(out) {
			if strings.HasPrefix(word, "sk-sem-") {
				return word
			}
		}
		t.Fatalf("no key was printed: %s", out)
		return ""
	}
	rate, alone, tokens, plain := key("rate", "--requests-per-second", "0.01"), key("alone", "--max-concurrent", "1"), key("tokens", "--tokens-per-minute", "120"), key("plain")
	const inFlight, perAddress, connections = 2, 24, 60
	p := newPod(t, "--key-file", file, "--limit-nodelay", "--deny-clients", "127.0.0.9/32",
		"--max-in-flight", fmt.Sprint(inFlight), "--max-connections-per-address", fmt.Sprint(perAddress), "--max-connections", fmt.Sprint(connections))
	ask := func(key string, b body) int {
		return callWith(from("127.0.0.2"), http.MethodPost, p.url+chatPath, b.String(), bearer(key)...).status
	}
	for _, c := range []struct {
		reason string
		status int
		run    func() int // returns the status of the one that is refused
	}{
		{"address", 403, func() int {
			return callWith(from("127.0.0.9"), http.MethodGet, p.url+"/v1/models", "", bearer(plain)...).status
		}},
		{"requests_per_second", 429, func() int { ask(rate, chat("Hi.", 1)); return ask(rate, chat("Hi.", 1)) }},
		{"prompt_above_tokens_per_minute", 400, func() int { return ask(tokens, chat(strings.Repeat("word ", 200), 1)) }},
		{"tokens_per_minute", 429, func() int { ask(tokens, chat("Count to a hundred.", 100)); return ask(tokens, chat("Hi.", 100)) }},
		{"max_concurrent", 429, func() int { return p.beside(t, alone, 1, func() int { return ask(alone, chat("Hi.", 1)) }) }},
		{"max_in_flight", 503, func() int { return p.beside(t, plain, inFlight, func() int { return ask(plain, chat("Hi.", 1)) }) }},
		{"max_connections_per_address", 503, func() int { return p.crowded(t, perAddress+1, "127.0.0.4") }},
		{"max_connections", 503, func() int {
			return p.crowded(t, connections-int(p.scrape(t).of(t, "semantic_connections_open"))+1, "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4")
		}},
		{"failed_logins", 429, func() int {
			var guesses sync.WaitGroup
			statuses := make([]int, perAddress-4)
			for i := range statuses {
				guesses.Go(func() {
					statuses[i] = callWith(from("127.0.0.5"), http.MethodGet, p.url+"/v1/models", "", bearer("guess")...).status
				})
			}
			guesses.Wait()
			return slices.Max(statuses)
		}},
	} {
		before := p.scrape(t)
		if status := c.run(); status != c.status {
			t.Errorf("%s: the refusal has the status %d, want %d", c.reason, status, c.status)
		}
		own := `semantic_rejected_total{reason="` + c.reason + `"}`
		await(t, own+" to move", func() bool { return p.scrape(t).of(t, own) > before.of(t, own) })
		after := p.scrape(t)
		for series, was := range before {
			moved := after.of(t, series) - was
			if exactly := c.reason != "failed_logins" && c.reason != "max_connections"; strings.HasPrefix(series, "semantic_rejected_total") && (series != own && moved != 0 || series == own && exactly && moved != 1) {
				t.Errorf("%s: %s moved by %v", c.reason, series, moved)
			}
		}
		await(t, "the connections to end", func() bool { return p.scrape(t).of(t, "semantic_connections_open") < 4 })
	}
	s := p.scrape(t)
	if finished, requests := s.sum("semantic_finish_total"), s.sum("semantic_request_total"); finished != requests {
		t.Errorf("%v requests ended in a class, %v were counted", finished, requests)
	}
}

// beside does something while a key has so many answers under way.
func (p *pod) beside(t *testing.T, key string, answers int, do func() int) int {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	var streams sync.WaitGroup
	begun := make(chan error, answers)
	for range answers {
		streams.Go(func() {
			req, err := newRequest(ctx, http.MethodPost, p.url+completionPath, counting(1500).with(body{"stream": true}).String(), bearer(key)...)
			if err != nil {
				begun <- err
				return
			}
			resp, err := from("127.0.0.3").Do(req)
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			if begun <- err; err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	for range answers {
		if err := <-begun; err != nil {
			t.Errorf("an answer beside: %v", err)
		}
	}
	status := do()
	leave()
	streams.Wait()
	return status
}

// crowded opens so many connections from these addresses by turns, and returns the
// status that the last one is refused with.
func (p *pod) crowded(t *testing.T, connections int, addresses ...string) int {
	t.Helper()
	var last net.Conn
	for i := range connections {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addresses[i%len(addresses)])}, Timeout: patience}
		conn, err := dialer.Dial("tcp", address(p.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		last = conn
		if i == connections-2 {
			time.Sleep(200 * time.Millisecond) // those before are accepted
		}
	}
	if err := last.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(last), nil)
	if err != nil {
		t.Errorf("the connection that is one too many: %v", err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
