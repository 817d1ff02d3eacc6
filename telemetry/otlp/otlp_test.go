package otlp

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/telemetry"
)

// clearEnviron takes every variable of OpenTelemetry's out of the test's environment.
func clearEnviron(t *testing.T) {
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
	} {
		t.Setenv(name, "")
	}
}

func TestWithoutVariablesNothingIsSent(t *testing.T) {
	clearEnviron(t)
	m := telemetry.NewMetrics("proxy")
	e, err := Open("proxy", m, zap.NewNop())
	if e != nil || err != nil {
		t.Fatalf("%v, %v", e, err)
	}
	e.Record(&Span{Name: "request"})
	if e.Traces() || e.Samples(trace.TraceID{}, true, true) || e.Close() != nil {
		t.Error("an exporter that is none does something")
	}
	if n := testing.AllocsPerRun(100, func() { e.Samples(trace.TraceID{}, false, false) }); n != 0 {
		t.Errorf("%v allocations a request that is not traced", n)
	}
}

func TestVariablesThatCannotBeAreNamed(t *testing.T) {
	for variable, value := range map[string]string{
		"OTEL_SDK_DISABLED": "maybe", "OTEL_TRACES_EXPORTER": "jaeger", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
		"OTEL_TRACES_SAMPLER": "sometimes", "OTEL_BSP_MAX_QUEUE_SIZE": "0", "OTEL_METRIC_EXPORT_INTERVAL": "1s",
	} {
		t.Run(variable, func(t *testing.T) {
			clearEnviron(t)
			t.Setenv(variable, value)
			_, err := Open("proxy", telemetry.NewMetrics("proxy"), zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), variable+"="+value) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	clearEnviron(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "1.5")
	if _, err := Open("proxy", telemetry.NewMetrics("proxy"), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_SAMPLER_ARG=1.5") {
		t.Errorf("the error is %v", err)
	}
}

func TestSamplersDecideAsOpenTelemetrySaysTheyDo(t *testing.T) {
	e := func(sampler, argument string) *Exporter {
		clearEnviron(t)
		t.Setenv("OTEL_TRACES_SAMPLER", sampler)
		t.Setenv("OTEL_TRACES_SAMPLER_ARG", argument)
		r := reader{}
		s := r.sampler()
		if r.err != nil {
			t.Fatal(r.err)
		}
		return &Exporter{sampler: s, traces: new(queue)}
	}
	low, high := trace.TraceID{8: 0x10}, trace.TraceID{8: 0xf0}
	for _, c := range []struct {
		sampler, argument  string
		id                 trace.TraceID
		continued, sampled bool
		want               bool
	}{
		{"", "", high, false, false, true},
		{"", "", low, true, false, false},
		{"always_on", "", high, true, false, true},
		{"always_off", "", low, true, true, false},
		{"parentbased_always_off", "", low, true, true, true},
		{"parentbased_always_off", "", low, false, false, false},
		{"traceidratio", "0.25", low, true, false, true},
		{"traceidratio", "0.25", high, true, true, false},
		{"parentbased_traceidratio", "0.25", high, false, false, false},
		{"parentbased_traceidratio", "0.25", high, true, true, true},
		{"parentbased_traceidratio", "0", low, false, false, false},
		{"parentbased_traceidratio", "1", trace.TraceID{8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}, false, false, true},
	} {
		if got := e(c.sampler, c.argument).Samples(c.id, c.continued, c.sampled); got != c.want {
			t.Errorf("%+v: sampled %v", c, got)
		}
	}
}

// TestACollectorThatHangsCostsCountedDropsAlone gives the exporter an address that takes
// connections and never answers.
func TestACollectorThatHangsCostsCountedDropsAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hung := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
	ended := make(chan struct{})
	go func() { _ = hung.Serve(ln); close(ended) }()
	defer func() { hung.Close(); <-ended }()
	clearEnviron(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+ln.Addr().String()+"/v1/traces")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
	m := telemetry.NewMetrics("proxy")
	e, err := Open("proxy", m, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const spans = 10_000
	for range spans {
		e.Record(&Span{Name: "request", Trace: trace.TraceID{1}, ID: NewSpanID(), Start: began, End: began})
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d spans took %s: they wait for the collector", spans, took)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the end took %s", took)
	}
	var text strings.Builder
	_, _ = m.WriteTo(&text)
	if want := `semantic_telemetry_dropped_total{process="proxy",signal="traces"} 10000`; !strings.Contains(text.String(), want) {
		t.Errorf("of %d spans that no collector got, these are counted:\n%s", spans, text.String()[strings.Index(text.String(), "# HELP semantic_telemetry"):])
	}
}
