package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const (
	traced   = "-01"
	untraced = "-00"
)

// parentOf is a client's traceparent for a trace of the test's.
func parentOf(n int, flags string) (traceparent, trace, span string) {
	trace, span = fmt.Sprintf("%032x", 0xabc000+n), fmt.Sprintf("%016x", 0xdef000+n)
	return "00-" + trace + "-" + span + flags, trace, span
}

// TestTracesReachACollector drives a pod that sends spans over gRPC and metrics over
// HTTP to a real collector, and reads what that wrote.
func TestTracesReachACollector(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	p := newDoomedPod(t, settings{env: c.environ()})
	t.Run("the tree of a request", func(t *testing.T) { checkTree(t, c, p) })
	t.Run("a request that is not sampled", func(t *testing.T) { checkUnsampled(t, c, p) })
	t.Run("requests of one batch", func(t *testing.T) { checkLinks(t, c, p) })
	t.Run("requests that fail", func(t *testing.T) { checkFailures(t, c, p) })
	t.Run("metrics by export", func(t *testing.T) { checkExportedMetrics(t, c, p) })
	t.Run("a collector that stalls and comes back", func(t *testing.T) { checkOutage(t, c, p) })
	p.mustStop(t)
}

// TestTracesReachACollectorTheOtherWay is the same with the protocols changed over: a
// tree over HTTP, and numbers over gRPC.
func TestTracesReachACollectorTheOtherWay(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	p := newDoomedPod(t, settings{env: c.theOtherWay()})
	t.Run("the tree of a request", func(t *testing.T) { checkTree(t, c, p) })
	t.Run("metrics by export", func(t *testing.T) { checkExportedMetrics(t, c, p) })
	p.mustStop(t)
}

// TestSpansGoOnThroughAnUpstream puts one pod in front of another, and wants one tree
// of both: the second's request is a child of the first's try.
func TestSpansGoOnThroughAnUpstream(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	behind := newDoomedPod(t, settings{env: c.environ()})
	front := newDoomedPod(t, settings{env: c.environ(), upstreams: []string{behind.url}})
	parent, id, _ := parentOf(700, traced)
	front.mustGenerate(t, chat("Count to ten, please.", 8), "traceparent", parent)
	var batch, try, second *spanData
	await(t, "the spans of both pods", func() bool {
		batch, try, second = nil, nil, nil
		spans := c.spans(t)
		for i := range spans {
			if s := &spans[i]; s.TraceID == id && s.Name == "upstream" {
				try = s
			}
		}
		for i := range spans {
			switch s := &spans[i]; {
			case s.TraceID != id || try == nil:
			case s.Name == "batch" && s.SpanID == try.ParentSpanID:
				batch = s
			case s.Name == "request" && s.ParentSpanID == try.SpanID:
				second = s
			}
		}
		return batch != nil && second != nil
	})
	checkInside(t, batch, try)
	checkInside(t, try, second)
	if try.Kind != 3 || try.Attributes.str("server.address") == "" || try.Attributes.str("semantic.outcome") != "served" || try.Status.Code == 2 {
		t.Errorf("the try is told as %+v", try)
	}
	front.mustStop(t)
	behind.mustStop(t)
}

func checkTree(t *testing.T, c *collector, p *pod) {
	for n, stream := range []bool{false, true} {
		parent, id, span := parentOf(n, traced)
		g := p.mustGenerate(t, chat(fmt.Sprintf("Count to ten, please (%d).", n), 8).with(body{"stream": stream}), "traceparent", parent, api.HeaderRequestID, fmt.Sprintf("tree-%d", n))
		got := c.trace(t, id, 5)
		request, batch, inference, prefill, decode := got["request"], got["batch"], got["inference"], got["prefill"], got["decode"]
		for _, link := range []struct {
			child           *spanData
			parent, process string
		}{
			{&request, span, "proxy"}, {&batch, request.SpanID, "engine"}, {&inference, batch.SpanID, "engine"},
			{&prefill, inference.SpanID, "engine"}, {&decode, inference.SpanID, "engine"},
		} {
			if link.child.ParentSpanID != link.parent || link.child.process != link.process {
				t.Errorf("%s is a child of %q in %s, want %q in %s", link.child.Name, link.child.ParentSpanID, link.child.process, link.parent, link.process)
			}
		}
		checkInside(t, &request, &batch)
		checkInside(t, &batch, &inference)
		checkInside(t, &inference, &prefill)
		checkInside(t, &inference, &decode)
		if sum, whole := length(&prefill)+length(&decode), length(&inference); sum > whole {
			t.Errorf("prefill and decode take %s, inference %s", sum, whole)
		}
		checkWaterfall(t, p, &request, fmt.Sprintf("tree-%d", n))
		checkGenAI(t, &request, &inference, g)
		if request.Kind != 2 || request.Status.Code == 2 {
			t.Errorf("request has kind %d, status %+v", request.Kind, request.Status)
		}
	}
}

func length(s *spanData) time.Duration { return time.Duration(s.end() - s.start()) }

func checkInside(t *testing.T, parent, child *spanData) {
	t.Helper()
	if child.start() < parent.start() || child.end() > parent.end() || child.end() < child.start() {
		t.Errorf("%s (%d to %d) is not inside %s (%d to %d)", child.Name, child.start(), child.end(), parent.Name, parent.start(), parent.end())
	}
}

var phases = []string{"auth_ms", "limit_ms", "read_ms", "forward_ms", "queue_ms", "prefill_ms", "decode_ms", "engine_ms", "write_ms"}

// checkWaterfall wants the phases to add up to the whole, on the span and in the log
// line, and both to tell the same.
func checkWaterfall(t *testing.T, p *pod, request *spanData, id string) {
	t.Helper()
	var found line
	await(t, "the log line of "+id, func() bool {
		lines, _ := readLogs(p.logDir(), "proxy")
		for _, l := range lines {
			if l.str("request_id") == id && l.str("msg") == "request" {
				found = l
			}
		}
		return found != nil
	})
	inLog, onSpan := 0.0, 0.0
	for _, phase := range phases {
		inLog += found.num(phase)
		onSpan += request.Attributes.num("semantic." + phase)
	}
	whole := found.num("duration_ms")
	if math.Abs(inLog-whole) > whole/100 || math.Abs(onSpan-whole) > whole/100 {
		t.Errorf("the phases add up to %.3f ms in the log and %.3f on the span, the whole is %.3f", inLog, onSpan, whole)
	}
	if spanned := float64(length(request)) / 1e6; math.Abs(spanned-whole) > whole/100 {
		t.Errorf("the span takes %.3f ms, the log says %.3f", spanned, whole)
	}
	if found.str("trace_id") != request.TraceID || found.str("span_id") != request.SpanID {
		t.Errorf("the log has trace %s and span %s, the span is %s of %s", found.str("trace_id"), found.str("span_id"), request.SpanID, request.TraceID)
	}
	if found.num("prefill_ms") <= 0 || found.num("decode_ms") <= 0 {
		t.Errorf("the log tells of no prefill or decode: %v", found)
	}
}

func checkGenAI(t *testing.T, request, inference *spanData, g generation) {
	t.Helper()
	for key, want := range map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "semantic", "gen_ai.request.model": "default",
		"gen_ai.usage.input_tokens": fmt.Sprint(g.usage.Prompt), "gen_ai.usage.output_tokens": fmt.Sprint(g.usage.Completion),
		"gen_ai.response.finish_reasons": g.finish, "semantic.finish": g.finish,
		"http.route": chatPath, "http.response.status_code": "200", "http.request.method": "POST",
	} {
		if got := request.Attributes.str(key); got != want {
			t.Errorf("request has %s=%q, want %q", key, got, want)
		}
	}
	if got := inference.Attributes.str("gen_ai.usage.output_tokens"); got != fmt.Sprint(g.usage.Completion) {
		t.Errorf("inference tells of %s tokens, usage of %d", got, g.usage.Completion)
	}
}

// checkUnsampled sends one that the client does not trace, then one that it does: when
// that is there, the first would be.
func checkUnsampled(t *testing.T, c *collector, p *pod) {
	silent, unwanted, _ := parentOf(10, untraced)
	p.mustGenerate(t, chat("Hello.", 2), "traceparent", silent)
	loud, wanted, _ := parentOf(11, traced)
	p.mustGenerate(t, chat("Hello.", 2), "traceparent", loud)
	c.trace(t, wanted, 5)
	for _, s := range c.spans(t) {
		if s.TraceID == unwanted {
			t.Errorf("a request that its client does not trace has a span %s", s.Name)
		}
	}
}

// checkLinks runs requests at once until two shared steps, and wants each to link to
// the other's span.
func checkLinks(t *testing.T, c *collector, p *pod) {
	var ids [3]string
	var wg sync.WaitGroup
	for i := range ids {
		parent, id, _ := parentOf(20+i, traced)
		ids[i] = id
		wg.Go(func() { _, _ = p.generate(counting(60), "traceparent", parent) })
	}
	wg.Wait()
	batches := map[string]spanData{}
	for _, id := range ids {
		b := c.trace(t, id, 5)["batch"]
		batches[b.SpanID] = b
	}
	for _, b := range batches {
		if len(b.Links) != 2 || b.Attributes.num("semantic.batch_size_max") < 2 {
			t.Errorf("a batch of three has %d links, and at most %s in a step", len(b.Links), b.Attributes.str("semantic.batch_size_max"))
		}
		for _, l := range b.Links {
			if other, ok := batches[l.SpanID]; !ok || other.TraceID != l.TraceID || l.SpanID == b.SpanID {
				t.Errorf("%s links to %s of %s, which is no batch-mate", b.SpanID, l.SpanID, l.TraceID)
			}
		}
	}
}

// checkFailures wants the finish class as the span's status where the pod or the
// client failed, and no failure where a request was refused.
func checkFailures(t *testing.T, c *collector, p *pod) {
	parent, id, _ := parentOf(30, traced)
	if r := p.call(http.MethodPost, chatPath, `{"model":"default","messages":[]}`, "traceparent", parent); r.status != http.StatusBadRequest {
		t.Fatalf("%d %s", r.status, r.body)
	}
	refused := c.trace(t, id, 1, "request")["request"]
	if refused.Status.Code == 2 || refused.Attributes.str("semantic.finish") != "rejected" {
		t.Errorf("a refusal has the status %+v, finish %s", refused.Status, refused.Attributes.str("semantic.finish"))
	}
	parent, id, _ = parentOf(31, traced)
	ctx, leave := context.WithCancel(context.Background())
	s, err := p.stream(ctx, counting(400).with(body{"stream": true}), "traceparent", parent)
	if err != nil {
		t.Fatal(err)
	}
	s.next()
	leave()
	s.close()
	left := c.trace(t, id, 2, "request", "batch") // either process tells when it likes
	for _, name := range []string{"request", "batch"} {
		if one := left[name]; one.Status.Code != 2 || one.Status.Message != "client_gone" {
			t.Errorf("the %s whose client left has the status %+v", name, one.Status)
		}
	}
}

// checkOutage stops the collector's process, and then kills it and starts another:
// requests are answered as before, and what is lost is counted.
func checkOutage(t *testing.T, c *collector, p *pod) {
	lost := func() float64 {
		return p.scrape(t).of(t, `semantic_telemetry_dropped_total{process="proxy",signal="traces"}`)
	}
	before := lost()
	pause := func() time.Duration {
		began := time.Now()
		for range 20 {
			if r := p.call(http.MethodGet, "/v1/models", "", "traceparent", "00-"+fmt.Sprintf("%032x", time.Now().UnixNano())+"-00000000000000aa-01"); r.status != http.StatusOK {
				t.Fatalf("%v %d", r.err, r.status)
			}
		}
		return time.Since(began) / 20
	}
	usual := pause()
	signalPID(t, c.cmd.Process.Pid, 19) // SIGSTOP: it takes connections and answers nothing
	stalled := pause()
	await(t, "spans to be counted as lost while the collector stalls", func() bool { return lost() > before })
	c.kill()
	absent := pause()
	t.Logf("GET /v1/models takes %s with a collector, %s with one that stalls, %s with none", usual, stalled, absent)
	const bound = 250 * time.Millisecond // many times what it takes; an export's timeout is 2 s
	if stalled > usual+bound || absent > usual+bound {
		t.Errorf("requests wait for the collector: %s, %s stalled, %s absent", usual, stalled, absent)
	}
	c.start(t)
	await(t, "a span after the collector came back", func() bool {
		parent, id, _ := parentOf(int(time.Now().UnixNano()%1e6)+1000, traced)
		p.call(http.MethodGet, "/v1/models", "", "traceparent", parent)
		return within(3*time.Second, func() bool {
			for _, s := range c.spans(t) {
				if s.TraceID == id {
					return true
				}
			}
			return false
		})
	})
}

// checkExportedMetrics waits for an export that has the numbers of a scrape, and
// wants OpenTelemetry's names for generative AI among them.
func checkExportedMetrics(t *testing.T, c *collector, p *pod) {
	scraped := p.scrape(t)
	for process, series := range map[string][]string{
		"proxy":  {`semantic_finish_total{class="length"}`, `semantic_time_to_first_token_seconds_count`, `semantic_request_duration_seconds_count{method="POST",path="/v1/chat/completions"}`},
		"engine": {`semantic_tokens_generated_total`, `semantic_decode_step_seconds_count`, `semantic_decode_step_seconds_sum`, `semantic_prompt_tokens_cached_total`},
	} {
		for _, name := range series {
			want := scraped.of(t, name)
			await(t, fmt.Sprintf("%s = %v among the exported", name, want), func() bool {
				got, ok := c.points(t, process)[name]
				return ok && math.Abs(got-want) <= want*1e-6
			})
		}
	}
	points := c.points(t, "engine")
	model := `gen_ai.operation.name="generate_content",gen_ai.provider.name="semantic",gen_ai.request.model="` + modelName + `",gen_ai.response.model="` + modelName + `"`
	for genAI, ours := range map[string]string{
		`gen_ai.server.request.duration_count{` + model + `}`:                     "vllm:e2e_request_latency_seconds_count",
		`gen_ai.server.time_to_first_token_count{` + model + `}`:                  "vllm:time_to_first_token_seconds_count",
		`gen_ai.server.time_per_output_token_count{` + model + `}`:                "vllm:inter_token_latency_seconds_count",
		`gen_ai.client.token.usage_sum{` + model + `,gen_ai.token.type="input"}`:  "vllm:request_prompt_tokens_sum",
		`gen_ai.client.token.usage_sum{` + model + `,gen_ai.token.type="output"}`: "vllm:request_generation_tokens_sum",
	} {
		want := points[ours+`{engine="0",model_name="`+modelName+`"}`]
		if got := points[genAI]; got != want || want == 0 {
			t.Errorf("%s is %v, %s is %v", genAI, got, ours, want)
		}
	}
}
