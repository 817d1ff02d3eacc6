package e2e

import (
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	observerKey = "observer-key-of-the-tests-0123456789"
	adminKey    = "admin-key-of-the-tests-0123456789abcdef"
)

// TestObservability drives one pod, with a collector beside it, through what its
// telemetry must tell, and must not tell.
func TestObservability(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	p := newDoomedPod(t, settings{
		args: []string{"--log-level", "debug"},
		env:  append(c.environ(), "SEMANTIC_API_KEYS=observer:"+observerKey, "SEMANTIC_ADMIN_KEY="+adminKey),
	})
	t.Run("counts what a client counts", func(t *testing.T) { checkReconciles(t, p) })
	t.Run("changes its log level at run time", func(t *testing.T) { checkLogLevel(t, p) })
	t.Run("grows no series for a hostile client", func(t *testing.T) { checkCardinality(t, p) })
	t.Run("fills the dashboard", func(t *testing.T) { checkDashboard(t, p) })
	t.Run("tells no secrets", func(t *testing.T) { checkCanary(t, c, p) })
	p.mustStop(t)
}

func bearer(key string) []string { return []string{"Authorization", "Bearer " + key} }

// checkReconciles sends a known traffic and wants each series moved by what it must
// be moved by, and the pod's own sums to be right.
func checkReconciles(t *testing.T, p *pod) {
	before := p.scrape(t)
	var prompt, completion, first, whole float64
	const turns = 4
	for turn := range turns {
		long := "Tell me what you know about the number " + strings.Repeat("seven and ", 12) + "eight."
		began := time.Now()
		g := p.mustGenerate(t, chat(long, 6+turn).with(body{"stream": true, "stream_options": body{"include_usage": true}}),
			append(bearer(observerKey), "X-Agent-ID", "reconciled")...)
		first += g.first.Seconds()
		whole += time.Since(began).Seconds()
		prompt += float64(g.usage.Prompt)
		completion += float64(g.usage.Completion)
	}
	p.call(http.MethodPost, chatPath, chat("x", 1).String())                                                     // without a key
	p.call(http.MethodPost, chatPath, chat("x", 1).String(), bearer("a-bad-key-0123456789abcdef")...)            // with a bad one
	p.call(http.MethodPost, chatPath, `{"model":"default","messages":[]}`, bearer(observerKey)...)               // refused
	p.call(http.MethodPost, chatPath, chat("x", 1).with(body{"model": "none"}).String(), bearer(observerKey)...) // no such model
	after := p.scrape(t)
	moved := func(series string) float64 { return after.of(t, series) - before.of(t, series) }
	for series, want := range map[string]float64{
		`semantic_request_total{method="POST",path="/v1/chat/completions",status_code="200"}`: turns,
		`semantic_finish_total{class="rejected"}`:                                             4,
		`semantic_auth_failures_total{reason="missing"}`:                                      1,
		`semantic_prompt_tokens_total`:                                                        prompt,
		`semantic_tokens_generated_total`:                                                     completion,
		`vllm:prompt_tokens_total{model_name="` + modelName + `",engine="0"}`:                 prompt,
		`vllm:generation_tokens_total{model_name="` + modelName + `",engine="0"}`:             completion,
		`vllm:e2e_request_latency_seconds_count{model_name="` + modelName + `",engine="0"}`:   turns,
		`semantic_cache_hit_total{tier="hot"}`:                                                turns - 1,
		`semantic_cache_miss_total`:                                                           1,
		`semantic_queue_wait_seconds_count`:                                                   turns,
		`semantic_prefill_duration_seconds_count`:                                             turns,
		`semantic_inter_token_latency_seconds_count`:                                          completion - turns,
		`semantic_time_to_first_token_seconds_count`:                                          turns,
		`semantic_proxy_overhead_seconds_count`:                                               turns + 2,
		`semantic_tokens_wasted_total`:                                                        0,
	} {
		if got := moved(series); got != want {
			t.Errorf("%s moved by %v, want %v", series, got, want)
		}
	}
	if got := after.sum("semantic_auth_failures_total") - before.sum("semantic_auth_failures_total"); got != 2 {
		t.Errorf("%v failures to authenticate were counted, want 2", got)
	}
	if finished, requests := after.sum("semantic_finish_total"), after.sum("semantic_request_total"); finished != requests {
		t.Errorf("%v requests ended in a class, %v were counted", finished, requests)
	}
	if cached, computed := moved("semantic_prompt_tokens_cached_total"), moved("semantic_prompt_tokens_computed_total"); cached+computed != prompt {
		t.Errorf("of %v prompt tokens %v were cached and %v computed", prompt, cached, computed)
	}
	if after.of(t, "semantic_agents_active") < 1 || moved("semantic_prompt_tokens_cached_total") < 1 || moved("semantic_prefill_seconds_saved_total") <= 0 {
		t.Error("an agent that came back saved nothing")
	}
	for kind, least := range map[string]float64{"weights": 50 << 20, "kv_pool": 512<<20 - 1<<22, "heap": 1 << 20} {
		if got := after.of(t, `semantic_memory_used_bytes{kind="`+kind+`"}`); got < least {
			t.Errorf("the engine claims %v bytes of %s", got, kind)
		}
	}
	// The client's stopwatch: the goal is 5 ms a request; a busy machine is forgiven more.
	for series, client := range map[string]float64{
		`semantic_time_to_first_token_seconds_sum`:                                         first,
		`semantic_request_duration_seconds_sum{method="POST",path="/v1/chat/completions"}`: whole,
	} {
		off := math.Abs(client-moved(series)) / turns
		t.Logf("%s: client and pod differ by %.2f ms a request", series, off*1e3)
		if off > 0.25 {
			t.Errorf("%s moved by %v s, the client's stopwatch says %v", series, moved(series), client)
		}
	}
}

// checkLogLevel silences one process, then all, and wants the debug lines to come and
// go with it.
func checkLogLevel(t *testing.T, p *pod) {
	put := func(body string) reply {
		return p.call(http.MethodPut, "/admin/log-level", body, bearer(adminKey)...)
	}
	if r := p.call(http.MethodPut, "/admin/log-level", `{"level":"debug"}`, bearer(observerKey)...); r.status == http.StatusOK {
		t.Errorf("a key that is no admin's changed the level: %d %s", r.status, r.body)
	}
	for bad, names := range map[string]string{`{"level":"loud"}`: "level", `{"level":"info","process":"x"}`: "process", `{`: "body"} {
		if r := put(bad); r.status != http.StatusBadRequest || !strings.Contains(r.body, names) {
			t.Errorf("%s: %d %s", bad, r.status, r.body)
		}
	}
	accessLines := func(process string) float64 {
		n := 0.0
		for _, l := range mustReadLogs(t, p.logDir(), process) {
			if l.str("msg") == "request" {
				n++
			}
		}
		return n
	}
	models := func() { p.call(http.MethodGet, "/v1/models", "", bearer(observerKey)...) }
	if r := put(`{"level":"error","process":"engine"}`); r.status != http.StatusOK || !strings.Contains(r.body, `"engine":"error"`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	await(t, "the lines until now", func() bool { return within(50*time.Millisecond, func() bool { return accessLines("proxy") > 0 }) })
	time.Sleep(300 * time.Millisecond) // lines gather for 5 ms
	engine, proxy := accessLines("engine"), accessLines("proxy")
	models()
	await(t, "the proxy's line", func() bool { return accessLines("proxy") > proxy })
	if got := accessLines("engine"); got != engine {
		t.Errorf("the engine wrote %v lines at level error", got-engine)
	}
	if r := put(`{"level":"info"}`); r.status != http.StatusOK || !strings.Contains(r.body, `"sidecar":"info"`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	models()
	await(t, "the engine's line", func() bool { return accessLines("engine") > engine })
}

// checkCardinality sends random paths, methods, agents, keys and models. After the
// first of them no series may be new.
func checkCardinality(t *testing.T, p *pod) {
	hostile := func(n int) {
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(worker)))
				word := func() string { return strconv.FormatUint(rng.Uint64(), 36) }
				for i := range n / 8 {
					key := observerKey
					if i%100 == 0 {
						key = word() + word()
					}
					method, path, text := http.MethodPost, chatPath, `{"model":"`+word()+`","messages":[{"role":"user","content":"x"}]}`
					switch i % 4 {
					case 0:
						path = "/" + word() + "/" + word()
					case 1:
						method = strings.ToUpper(word())
						if method[0] < 'A' {
							method = "X" + method
						}
					case 2:
						method, path, text = http.MethodGet, "/v1/agents/"+word(), ""
					}
					p.call(method, path, text, append(bearer(key), "X-Agent-ID", word())...)
				}
			})
		}
		wg.Wait()
	}
	hostile(400)
	names := func() []string {
		var all []string
		for name := range p.scrape(t) {
			all = append(all, name)
		}
		slices.Sort(all)
		return all
	}
	before := names()
	hostile(10_000)
	after := names()
	if !slices.Equal(before, after) {
		for _, name := range after {
			if _, known := slices.BinarySearch(before, name); !known {
				t.Errorf("a new series: %s", name)
			}
		}
	}
	t.Logf("%d samples before and after 10,000 hostile requests", len(after))
}

// checkCanary sends marker words in every place where a client's own text goes, and
// looks for them in all that the pod has written and told.
func checkCanary(t *testing.T, c *collector, p *pod) {
	const prompt, query, secret, badKey = "xanadu-prompt-marker", "xanadu-query-marker", "xanadu-secret-marker", "xanadu-key-marker-0123456789"
	parent, id, _ := parentOf(500, traced)
	answer := p.mustGenerate(t, chat("Repeat: "+prompt, 24), append(bearer(observerKey), "traceparent", parent, "Cookie", secret)...)
	header := append(bearer(observerKey), "X-Secret", secret)
	for _, bad := range []string{
		`{"model":"default","messages":[{"role":"` + prompt + `","content":"x"}]}`,
		`{"model":"default","messages":[{"role":"user","content":"` + prompt,
		`{"model":"default","messages":[{"role":"user","content":"` + prompt + `"}],"stop":{"` + prompt + `":1}}`,
		`{"model":"default","` + prompt + `":"` + prompt + `","messages":[]}`,
	} {
		p.call(http.MethodPost, chatPath+"?q="+query, bad, header...)
		p.call(http.MethodPost, "/v1/messages?q="+query, bad, header...)
	}
	p.call(http.MethodGet, "/v1/models?q="+query, "", bearer(badKey)...)
	p.call(http.MethodGet, "/health/ready?q="+query, "")
	c.trace(t, id, 5)
	words := []string{prompt, query, secret, badKey, observerKey, adminKey}
	if text := strings.TrimSpace(answer.text); len(text) > 12 {
		words = append(words, text[:12])
	}
	told := map[string]string{"/metrics": p.metrics(t), "sidecar's /metrics": exposition(t, p.sidecar), "stderr": p.stderr.String()}
	time.Sleep(500 * time.Millisecond) // the last lines are in the files by then
	for _, dir := range []string{p.logDir(), c.dir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			told[path] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 8 {
		t.Errorf("only %d places were searched", len(told))
	}
	for place, text := range told {
		for _, word := range words {
			if at := strings.Index(text, word); at >= 0 {
				t.Errorf("%s has the marker %q: …%s…", place, word, fmt.Sprintf("%.200q", text[max(0, at-100):]))
			}
		}
	}
}
