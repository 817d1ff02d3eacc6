package e2e

import (
	"bufio"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

// scrape is one look at /metrics: the value of each series by its whole name.
type scrape map[string]float64

func parseMetrics(t *testing.T, text string) scrape {
	t.Helper()
	s := scrape{}
	scan := bufio.NewScanner(strings.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), "#") || scan.Text() == "" {
			continue
		}
		at := strings.LastIndexByte(scan.Text(), ' ')
		name := scan.Text()[:max(at, 0)]
		value, err := strconv.ParseFloat(scan.Text()[at+1:], 64)
		if err != nil || name == "" {
			t.Fatalf("metrics: cannot read %q", scan.Text())
		}
		if _, double := s[name]; double {
			t.Errorf("metrics: %s is there twice", name)
		}
		s[name] = value
	}
	return s
}

// scrape reads the pod's /metrics.
func (p *pod) scrape(t *testing.T) scrape {
	t.Helper()
	return parseMetrics(t, p.metrics(t))
}

func (p *pod) metrics(t *testing.T) string {
	t.Helper()
	return exposition(t, p.url)
}

func exposition(t *testing.T, url string) string {
	t.Helper()
	r := callWith(http.DefaultClient, http.MethodGet, url+"/metrics", "")
	if r.err != nil || r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%s/metrics: %v, %d %v", url, r.err, r.status, r.header)
	}
	return r.body
}

// of is the value of a series that must be there.
func (s scrape) of(t *testing.T, series string) float64 {
	t.Helper()
	v, ok := s[series]
	if !ok {
		t.Errorf("metrics: there is no %s", series)
	}
	return v
}

// sum adds all series of a family.
func (s scrape) sum(family string) float64 {
	total := 0.0
	for name, v := range s {
		if strings.HasPrefix(name, family+"{") || name == family {
			total += v
		}
	}
	return total
}

func finishes(class api.Finish) string { return `semantic_finish_total{class="` + string(class) + `"}` }

// TestMetricsAreCleanToPrometheus lets promtool complain of nothing but the colons
// in vLLM's names, which are vLLM's choice.
func TestMetricsAreCleanToPrometheus(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	p.mustGenerate(t, chat("Hello.", 2))
	for name, url := range map[string]string{"proxy and engine": p.url, "sidecar": p.sidecar} {
		check := exec.Command("promtool", "check", "metrics")
		check.Stdin = strings.NewReader(exposition(t, url))
		out, _ := check.CombinedOutput() // fails if it found anything
		for found := range strings.Lines(string(out)) {
			if !strings.HasPrefix(found, "vllm:") || !strings.Contains(found, "should not contain ':'") {
				t.Errorf("promtool on the metrics of %s: %s", name, found)
			}
		}
	}
}

func TestSeriesAreThereBeforeAnythingHappens(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	s := p.scrape(t)
	for _, class := range api.Finishes {
		if v := s.of(t, finishes(class)); v != 0 {
			t.Errorf("%s is %v at the start", finishes(class), v)
		}
	}
	for series, want := range map[string]float64{
		`semantic_request_total{method="POST",path="/v1/chat/completions",status_code="200"}`: 0,
		`semantic_request_duration_seconds_count{method="POST",path="/v1/chat/completions"}`:  0,
		`semantic_time_to_first_token_seconds_count`:                                          0,
		`semantic_tokens_generated_total`:                                                     0,
		`semantic_requests_in_flight`:                                                         0,
		`semantic_engine_up`:                                                                  1,
		`semantic_engine_restarts_total`:                                                      0,
	} {
		if v := s.of(t, series); v != want {
			t.Errorf("%s is %v at the start, want %v", series, v, want)
		}
	}
	for _, process := range []string{"proxy", "engine"} {
		if s.of(t, `process_resident_memory_bytes{process="`+process+`"}`) < 1<<20 {
			t.Errorf("%s claims to take no memory", process)
		}
	}
}

// expectation is a request and what it must move.
type expectation struct {
	path, body string
	status     int
	finish     api.Finish
	generates  bool
}

var countedRequests = []expectation{
	{chatPath, chat(italy, 40).String(), 200, api.FinishStop, true},
	{chatPath, chat(italy, 3).String(), 200, api.FinishLength, true},
	{completionPath, counting(5).String(), 200, api.FinishLength, true},
	{chatPath, chat("Count.", 5).with(body{"stream": true}).String(), 200, api.FinishLength, true},
	{completionPath, counting(7).with(body{"stream": true}).String(), 200, api.FinishLength, true},
	{chatPath, `{"model":"default","messages":[]}`, 400, api.FinishRejected, false},
	{chatPath, `{`, 400, api.FinishRejected, false},
	{chatPath, chat("x", 1).with(body{"model": "gpt-5"}).String(), 404, api.FinishRejected, false},
	{"/v1/nothing", `{}`, 404, api.FinishRejected, false},
	{"/v1/models", `{}`, 405, api.FinishRejected, false},
	{"/v1/models", ``, 200, api.FinishOK, false},
	{"/version", ``, 200, api.FinishOK, false},
}

// TestMetricsCountWhatHappened sends a known mix and wants every counter moved by
// exactly that.
func TestMetricsCountWhatHappened(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	want := map[string]float64{}
	const rounds = 2
	for range rounds {
		for _, e := range countedRequests {
			method := http.MethodPost
			if e.body == "" {
				method = http.MethodGet
			}
			r := p.call(method, e.path, e.body)
			if r.err != nil || r.status != e.status {
				t.Fatalf("%s %s: %v, %d %s", e.path, e.body, r.err, r.status, r.body)
			}
			want[finishes(e.finish)]++
			want["requests"]++
			if e.generates {
				want["generations"]++
			}
			want[`semantic_request_total{method="`+method+`",path="`+label(e.path)+`",status_code="`+strconv.Itoa(e.status)+`"}`]++
			want[`semantic_request_duration_seconds_count{method="`+method+`",path="`+label(e.path)+`"}`]++
		}
	}
	await(t, "the requests to be counted", func() bool { return p.scrape(t).sum("semantic_finish_total") >= want["requests"] })
	s := p.scrape(t)
	for series, n := range want {
		if strings.HasPrefix(series, "semantic_") && s.of(t, series) != n {
			t.Errorf("%s is %v, want %v", series, s[series], n)
		}
	}
	for family, n := range map[string]float64{
		"semantic_request_total":                     want["requests"],
		"semantic_finish_total":                      want["requests"],
		"semantic_request_duration_seconds_count":    want["requests"],
		"semantic_time_to_first_token_seconds_count": want["generations"],
		"semantic_requests_in_flight":                0,
		"semantic_engine_up":                         1,
	} {
		if s.sum(family) != n {
			t.Errorf("%s adds up to %v, want %v", family, s.sum(family), n)
		}
	}
}

// label is the path under which a request is counted.
func label(path string) string {
	if path == "/v1/nothing" {
		return "other"
	}
	return path
}

func TestTokensAreCountedAsUsageTellsThem(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	generated, prompt := 0, 0
	for _, b := range []body{
		chat(italy, 40), chat("Hello!", 4), counting(9),
		chat("Say yes.", 6).with(body{"stream": true}), counting(3).with(body{"stream": true}),
		counting(30).with(body{"stop": "12"}),
	} {
		g := p.mustGenerate(t, b)
		if g.usage.Completion < 1 || g.usage.Prompt < 1 || g.usage.Total != g.usage.Prompt+g.usage.Completion {
			t.Errorf("%s: usage %+v", b, g.usage)
		}
		generated += g.usage.Completion
		prompt += g.usage.Prompt
	}
	s := p.scrape(t)
	if got := s.of(t, "semantic_tokens_generated_total"); got != float64(generated) {
		t.Errorf("semantic_tokens_generated_total is %v, usage adds up to %d", got, generated)
	}
	if got := s.of(t, "semantic_prompt_tokens_total"); got != float64(prompt) {
		t.Errorf("semantic_prompt_tokens_total is %v, usage adds up to %d", got, prompt)
	}
	if got := s.of(t, "semantic_tokens_wasted_total"); got != 0 {
		t.Errorf("semantic_tokens_wasted_total is %v", got)
	}
}
