package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// turns returns the bodies of a conversation's turns, each of which holds all before.
func turns(n int, more string) []string {
	var bodies []string
	messages := ""
	for i := range n {
		messages += fmt.Sprintf(`{"role":"user","content":"%s?"}`, strings.Repeat(fmt.Sprintf("Tell me of thing %d. ", i), 3+i))
		bodies = append(bodies, `{"model":"default","messages":[`+messages+`],"max_tokens":16`+more+`}`)
		messages += fmt.Sprintf(`,{"role":"assistant","content":"Thing %d is fine."},`, i)
	}
	return bodies
}

// metric returns the value of a series, which must be there.
func (e *testEngine) metric(series string) float64 {
	e.t.Helper()
	for _, line := range strings.Split(e.call("GET", api.PathMetrics, "").body, "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var f float64
			if _, err := fmt.Sscan(value, &f); err != nil {
				e.t.Fatalf("%s: %v", line, err)
			}
			return f
		}
	}
	e.t.Fatalf("there is no series %s", series)
	return 0
}

func TestCachedPrefixGivesTheVeryAnswerOfAFreshEngine(t *testing.T) {
	defaultConfig := testConfig(t)
	defaultConfig.Model, defaultConfig.KVMemory, defaultConfig.Threads = enginetest.Default(t), 64<<20, 2
	small := testConfig(t)
	small.Model = enginetest.Model(t, enginetest.Shape{Context: 2048, Layers: 3})
	for name, cfg := range map[string]Config{"random": small, "default": defaultConfig} {
		for i, more := range []string{`,"temperature":1,"seed":7`, `,"temperature":0`} {
			if name == "default" && i > 0 {
				break // one is slow enough
			}
			bodies := turns(3, more)
			warm := startEngine(t, freshSocket(t, cfg))
			var got, want []string
			prompt, cached := 0.0, 0.0
			for i, body := range bodies {
				r := warm.post(chatPath, body)
				got = append(got, r.text(t))
				prompt, cached = prompt+r.number(t, api.HeaderPromptTokens), cached+r.number(t, api.HeaderCachedTokens)
				if n := r.number(t, api.HeaderCachedTokens); i > 0 && (n < 32 || n >= r.number(t, api.HeaderPromptTokens)) {
					t.Errorf("%s: turn %d: %g of %s tokens were cached", name, i, n, r.outcome(api.HeaderPromptTokens))
				}
				if n := r.outcome(api.HeaderCachedTokens); !strings.Contains(r.body, `"cached_tokens":`+n) {
					t.Errorf("%s: turn %d: the usage does not say %s cached tokens: %s", name, i, n, r.body)
				}
			}
			for series, want := range map[string]float64{
				"semantic_prompt_tokens_total": prompt, "semantic_prompt_tokens_cached_total": cached,
				`semantic_cache_hit_total{tier="hot"}`: 2, "semantic_cache_miss_total": 1, `semantic_cache_hit_total{tier="warm"}`: 0,
			} {
				if got := warm.metric(series); got != want {
					t.Errorf("%s: %s is %g, want %g", name, series, got, want)
				}
			}
			if warm.metric("semantic_prefill_seconds_saved_total") <= 0 {
				t.Errorf("%s: nothing was saved", name)
			}
			fresh := startEngine(t, freshSocket(t, cfg))
			for i := len(bodies) - 1; i >= 0; i-- { // the longest first, so that nothing of it is cached
				fresh.flush()
				want = append([]string{fresh.post(chatPath, bodies[i]).text(t)}, want...)
			}
			if fresh.metric("semantic_prompt_tokens_cached_total") != 0 {
				t.Fatal("the fresh engine had something cached")
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: turn %d: with its prefix cached %q, fresh %q", name, i, got[i], want[i])
				}
			}
		}
	}
}

// freshSocket returns the configuration for another engine.
func freshSocket(t testing.TB, cfg Config) Config {
	cfg.Socket = testConfig(t).Socket
	return cfg
}

// flush forgets every cached block.
func (e *testEngine) flush() {
	e.t.Helper()
	s := e.current().(*native).scheduler
	if _, err := inquire(e.t.Context(), s, func() int { return s.blocks.Flush() }); err != nil {
		e.t.Fatal(err)
	}
}

func TestTenantsShareNoPrefixUnlessTold(t *testing.T) {
	for _, share := range []bool{false, true} {
		cfg := testConfig(t)
		cfg.SharePrefixAcrossTenants = share
		e := startEngine(t, cfg)
		body := ask(strings.Repeat("secret ", 12), 4)
		cached := func(tenant string) float64 {
			return e.post(completionPath, body, api.HeaderTenant, tenant).number(t, api.HeaderCachedTokens)
		}
		first, own, other := cached("a"), cached("a"), cached("b")
		if first != 0 || own < 48 || share != (other == own) || !share && other != 0 {
			t.Errorf("shared %t: the first had %g tokens cached, its second %g, the other tenant %g", share, first, own, other)
		}
	}
}

func TestAnswersStayTheSameWhileTheCacheIsUnderPressure(t *testing.T) {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 256})
	cfg.KVMemory = config.Size(20 * int(blockSizeOf(t, cfg)))
	e := startEngine(t, cfg)
	rng := rand.New(rand.NewPCG(5, 6))
	want := map[string]string{}
	cached := 0.0
	for range 120 {
		start := strings.Repeat(string(rune('a'+rng.IntN(5))), 16*(1+rng.IntN(3)))
		body := ask(start+strings.Repeat(string(rune('A'+rng.IntN(6))), 1+rng.IntN(60)), 8)
		r := e.post(completionPath, body)
		cached += r.number(t, api.HeaderCachedTokens)
		if got := r.text(t); want[body] == "" {
			want[body] = got
		} else if got != want[body] {
			t.Fatalf("%s: first %q, then %q", body, want[body], got)
		}
	}
	for body, first := range want { // and once more with nothing cached
		e.flush()
		if got := e.post(completionPath, body).text(t); got != first {
			t.Fatalf("%s: %q under pressure, %q alone", body, first, got)
		}
	}
	if cached == 0 || e.used() != 0 || e.State().PoolUtilization != 0 {
		t.Errorf("%g tokens were cached; %d blocks are used", cached, e.used())
	}
}
