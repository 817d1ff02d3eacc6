package otlp

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// What is written by hand is read with OpenTelemetry's own messages, which must know
// every field of it.
func TestSpansAreWrittenAsOpenTelemetryReadsThem(t *testing.T) {
	start := time.Unix(1_800_000_000, 123)
	mate := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled})
	spans := []*Span{{
		Name: "request", Kind: trace.SpanKindServer, Trace: trace.TraceID{1, 2}, ID: trace.SpanID{3}, Parent: trace.SpanID{4}, Remote: true,
		Start: start, End: start.Add(1500 * time.Millisecond), Failed: "client_gone",
		Attributes: []attribute.KeyValue{
			attribute.String("text", "é\x00"), attribute.Int("number", -7), attribute.Float64("share", 0.25), attribute.Bool("yes", true),
			attribute.StringSlice("list", []string{"stop", ""}), attribute.Int64Slice("other", []int64{1, 2}), attribute.String("none", ""),
		},
		Links: []trace.Link{{SpanContext: mate, Attributes: []attribute.KeyValue{attribute.String("semantic.link", "same_batch")}}},
	}, {Name: "root", Kind: trace.SpanKindInternal, Trace: trace.TraceID{1}, ID: trace.SpanID{2}, Start: start, End: start}}
	resource, own := preamble([]attribute.KeyValue{attribute.String("service.name", "semantic")}, "1.2.3")
	q := &queue{size: queueSize{spans: 10, batch: 10}, resource: resource, scope: own}
	for _, s := range spans {
		q.add(s)
	}
	if n := q.take(1); n != len(spans) {
		t.Fatalf("%d spans were taken", n)
	}
	raw, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: envelope(q.sending)})
	if err != nil {
		t.Fatal(err)
	}
	var got collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	text := func(s string) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	}
	kv := func(key string, v *commonpb.AnyValue) *commonpb.KeyValue {
		return &commonpb.KeyValue{Key: key, Value: v}
	}
	want := []*tracepb.Span{{
		TraceId: spans[0].Trace[:], SpanId: spans[0].ID[:], ParentSpanId: spans[0].Parent[:], Name: "request", Kind: tracepb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(start.UnixNano()) + 1_500_000_000, Flags: 0x301,
		Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "client_gone"},
		Attributes: []*commonpb.KeyValue{
			kv("text", text("é\x00")), kv("number", &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -7}}),
			kv("share", &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 0.25}}), kv("yes", &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}),
			kv("list", &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("stop"), text("")}}}}),
			kv("other", text("[1,2]")), kv("none", text("")),
		},
		Links: []*tracepb.Span_Link{{TraceId: append([]byte{9}, make([]byte, 15)...), SpanId: append([]byte{8}, make([]byte, 7)...), Flags: 0x101, Attributes: []*commonpb.KeyValue{kv("semantic.link", text("same_batch"))}}},
	}, {
		TraceId: spans[1].Trace[:], SpanId: spans[1].ID[:], Name: "root", Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(start.UnixNano()), Flags: 0x101,
	}}
	if len(got.ResourceSpans) != 1 || len(got.ResourceSpans[0].ScopeSpans) != 1 || got.ResourceSpans[0].Resource.Attributes[0].Value.GetStringValue() != "semantic" {
		t.Fatalf("read as %s", protojson.Format(&got))
	}
	scoped := got.ResourceSpans[0].ScopeSpans[0]
	if scoped.Scope.GetName() != scope || scoped.Scope.GetVersion() != "1.2.3" || len(scoped.Spans) != len(want) {
		t.Fatalf("read as %s", protojson.Format(scoped))
	}
	for i := range want {
		if !proto.Equal(scoped.Spans[i], want[i]) {
			t.Errorf("span %d is read as\n%s\nwant\n%s", i, protojson.Format(scoped.Spans[i]), protojson.Format(want[i]))
		}
	}
}

func TestRecordingASpanLeavesNoGarbage(t *testing.T) {
	q := &queue{size: queueSize{spans: 1 << 20, batch: 1 << 20}, pending: make([]byte, 0, 4<<20), ends: make([]int, 0, 1<<14), full: make(chan struct{}, 1)}
	e := &Exporter{traces: q}
	kv := []attribute.KeyValue{attribute.String("http.route", "/v1/models"), attribute.Int("http.response.status_code", 200), attribute.Float64("semantic.auth_ms", 0.02)}
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		e.Record(&Span{Name: "request", Trace: trace.TraceID{1}, ID: trace.SpanID{1}, Start: now, End: now, Attributes: kv})
	}); n != 0 {
		t.Errorf("%v allocations a span", n)
	}
}
