package e2e

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// timings reads a Server-Timing: milliseconds by phase.
func timings(t *testing.T, text string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for one := range strings.SplitSeq(text, ", ") {
		name, ms, ok := strings.Cut(one, ";dur=")
		v, err := strconv.ParseFloat(ms, 64)
		if _, double := all[name]; !ok || err != nil || v < 0 || double {
			t.Fatalf("Server-Timing: %q: %v", text, err)
		}
		all[name] = v
	}
	return all
}

func without(all map[string]float64, name string) (sum float64) {
	for phase, ms := range all {
		if phase != name {
			sum += ms
		}
	}
	return sum
}

// TestAnswersTellWhereTheirTimeWent reads Server-Timing: on an answer, on a refusal,
// before a stream, and after one for a client that takes trailers.
func TestAnswersTellWhereTheirTimeWent(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	r := p.call(http.MethodPost, chatPath, chat("Count to ten, please.", 6).String())
	whole := timings(t, r.header.Get("Server-Timing"))
	took, err := strconv.ParseFloat(strings.TrimSuffix(r.header.Get("X-Response-Time"), "ms"), 64)
	if err != nil || whole["prefill"] <= 0 || whole["decode"] <= 0 || without(whole, "") > took*1.01+0.02 {
		t.Errorf("an answer of %v ms (%v) tells of %v", took, err, whole)
	}
	if refused := timings(t, p.call(http.MethodPost, chatPath, `{`).header.Get("Server-Timing")); len(refused) == 0 {
		t.Error("a refusal tells of no time")
	}
	if probe := p.health("ready"); probe.header.Get("Server-Timing") != "" {
		t.Errorf("a probe tells of its time: %s", probe.header.Get("Server-Timing"))
	}
	for _, te := range []string{"", "gzip, trailers"} {
		req, err := newRequest(context.Background(), http.MethodPost, p.url+completionPath, counting(6).with(body{"stream": true}).String(), "TE", te)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(text), "[DONE]") {
			t.Fatalf("%v: %s", err, text)
		}
		if te == "" {
			if head := timings(t, resp.Header.Get("Server-Timing")); head["engine"] <= 0 || len(resp.Trailer) > 0 {
				t.Errorf("a stream's header tells of %v, its trailers are %v", head, resp.Trailer)
			}
			continue
		}
		after := timings(t, resp.Trailer.Get("Server-Timing"))
		if total := after["total"]; after["prefill"] <= 0 || after["decode"] <= 0 || math.Abs(without(after, "total")-total) > total/100+0.02 {
			t.Errorf("a stream's trailer tells of %v", after)
		}
	}
}
