package engine

import (
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry/otlp"
)

// maxMates bounds the other requests that a span links to.
const maxMates = 32

// batchTrace is what the scheduler notes of a traced request, whose span "batch" it
// becomes. One that is not traced has none.
type batchTrace struct {
	to     *otlp.Exporter
	parent trace.SpanContext // the proxy's span
	own    trace.SpanContext // the span "batch"

	mu      sync.Mutex
	steps   int
	largest int                 // requests of its largest step
	mates   []trace.SpanContext // traced requests of its steps
	more    int                 // mates beyond those
	until   time.Time           // the end of the last try at an upstream
	batch   uint64              // of scheduler.batches, when mates was looked at last
}

// traceOf begins the trace of a request that the proxy says is traced.
func (e *Engine) traceOf(traceparent string) *batchTrace {
	if traceparent == "" || !e.otlp.Traces() {
		return nil
	}
	parent := otlp.Parent(traceparent)
	if !parent.IsSampled() {
		return nil
	}
	return &batchTrace{to: e.otlp, parent: parent, own: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: parent.TraceID(), SpanID: otlp.NewSpanID(), TraceFlags: trace.FlagsSampled,
	})}
}

// attempt begins the span "upstream" of one try at a server that computes in our place.
func (t *batchTrace) attempt(address string) (traceparent string, end func(outcome string, failed bool)) {
	id, began := otlp.NewSpanID(), time.Now()
	return "00-" + t.own.TraceID().String() + "-" + id.String() + "-01", func(outcome string, failed bool) {
		s := otlp.Span{
			Name: "upstream", Kind: trace.SpanKindClient, Trace: t.own.TraceID(), ID: id, Parent: t.own.SpanID(), Start: began, End: time.Now(),
			Attributes: []attribute.KeyValue{attribute.String("server.address", address), attribute.String("semantic.outcome", outcome)},
		}
		if failed {
			s.Failed = outcome
		}
		t.to.Record(&s)
		t.mu.Lock()
		t.until = s.End
		t.mu.Unlock()
	}
}

// traceStep notes a step for the traced ones among those that it computed for.
func (s *scheduler) traceStep(computing int) {
	for _, seq := range s.running {
		if t := seq.trace; t != nil && seq.chunk > 0 {
			t.stepped(computing, s)
		}
	}
}

// stepped counts a step, and looks who else is in the batch if that has changed.
func (t *batchTrace) stepped(computing int, s *scheduler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	t.largest = max(t.largest, computing)
	if t.batch == s.batches {
		return
	}
	t.batch = s.batches
	for _, other := range s.running {
		switch {
		case other.trace == nil || other.trace == t || slices.ContainsFunc(t.mates, other.trace.own.Equal):
		case len(t.mates) == maxMates:
			t.more++
		default:
			t.mates = append(t.mates, other.trace.own)
		}
	}
}

// tell records the spans of a generation that is over: "batch" for its way through
// the scheduler, in it "inference", and in that "prefill" and "decode". A phase that
// it did not come to has no span.
func (x *exchange) tell() {
	t, r := x.trace, x.result
	if t == nil || r.times.arrival.IsZero() {
		return
	}
	end := r.times.last
	if end.IsZero() {
		end = time.Now()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	links := make([]trace.Link, len(t.mates))
	for i, mate := range t.mates {
		links[i] = trace.Link{SpanContext: mate, Attributes: []attribute.KeyValue{attribute.String("semantic.link", "same_batch")}}
	}
	failed := failure(x.finish)
	whole := end
	if t.until.After(end) {
		whole = t.until
	}
	x.span("batch", trace.SpanKindServer, t.own.SpanID(), t.parent.SpanID(), r.times.arrival, whole, failed, links,
		attribute.String("semantic.request_id", x.id),
		attribute.String("semantic.finish", string(x.finish)),
		attribute.Float64("semantic.queue_ms", milliseconds(r.times.queue())),
		attribute.Int("semantic.steps", t.steps),
		attribute.Int("semantic.batch_size_max", t.largest),
		attribute.Int("semantic.batch_mates_not_linked", t.more))
	if r.times.start.IsZero() {
		return
	}
	inference := otlp.NewSpanID()
	x.span("inference", trace.SpanKindInternal, inference, t.own.SpanID(), r.times.start, end, failed, nil,
		attribute.String("gen_ai.response.model", x.engine.name),
		attribute.Int("gen_ai.usage.input_tokens", r.usage.Prompt),
		attribute.Int("gen_ai.usage.output_tokens", r.usage.Completion),
		attribute.Int("gen_ai.usage.cache_read.input_tokens", r.usage.Cached),
		attribute.Float64("semantic.ttft_ms", milliseconds(r.times.ttft())))
	if r.times.first.IsZero() {
		return
	}
	x.span("prefill", trace.SpanKindInternal, otlp.NewSpanID(), inference, r.times.start, r.times.first, "", nil,
		attribute.Int("semantic.computed_tokens", r.usage.Prompt-r.usage.Cached))
	x.span("decode", trace.SpanKindInternal, otlp.NewSpanID(), inference, r.times.first, end, "", nil,
		attribute.Int("semantic.tokens", r.usage.Completion))
}

func (x *exchange) span(name string, kind trace.SpanKind, id, parent trace.SpanID, start, end time.Time, failed string, links []trace.Link, kv ...attribute.KeyValue) {
	x.engine.otlp.Record(&otlp.Span{
		Name: name, Kind: kind, Trace: x.trace.own.TraceID(), ID: id, Parent: parent, Remote: kind == trace.SpanKindServer,
		Start: start, End: end, Attributes: kv, Links: links, Failed: failed,
	})
}

// failure is the class of a request that failed, for its span's status.
func failure(f api.Finish) string {
	switch f {
	case api.FinishOK, api.FinishStop, api.FinishLength, api.FinishToolCalls, api.FinishRejected:
		return ""
	}
	return string(f)
}
