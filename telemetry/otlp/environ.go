package otlp

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// environ is what the OTEL_* variables say. Endpoints, headers, certificates and
// compression are the exporters' own matter, which read their variables themselves.
type environ struct {
	traces, metrics bool
	protocol        map[string]string // grpc or http/protobuf, by signal
	sampler         sampler
	queue           queueSize
	interval        time.Duration // of the export of metrics
	timeout         time.Duration // of one export of metrics
}

// The two protocols. http/json is in the specification and not in the Go exporters.
const (
	overGRPC = "grpc"
	overHTTP = "http/protobuf"
)

func readEnviron() (environ, error) {
	r := reader{}
	e := environ{protocol: map[string]string{}}
	if r.flag("OTEL_SDK_DISABLED") {
		return e, r.err
	}
	e.traces = r.wanted("TRACES")
	e.metrics = r.wanted("METRICS")
	for _, signal := range []string{"TRACES", "METRICS"} {
		e.protocol[signal] = r.protocol(signal)
	}
	e.sampler = r.sampler()
	e.queue = queueSize{
		spans: r.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1),
		batch: r.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1),
		delay: r.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 1000),
		limit: r.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", 10_000),
	}
	if e.queue.batch > e.queue.spans {
		r.fail("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "is more than OTEL_BSP_MAX_QUEUE_SIZE")
	}
	e.interval = r.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000)
	e.timeout = r.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", 30_000)
	return e, r.err
}

// reader reads variables, and keeps the first that has a value it cannot have.
type reader struct{ err error }

func (r *reader) fail(name, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s=%s %s", name, os.Getenv(name), why)
	}
}

func (r *reader) flag(name string) bool {
	switch strings.ToLower(os.Getenv(name)) {
	case "true":
		return true
	case "", "false":
	default:
		r.fail(name, "is neither true nor false")
	}
	return false
}

// wanted says whether a signal is sent: by default where an endpoint is named.
func (r *reader) wanted(signal string) bool {
	switch name := "OTEL_" + signal + "_EXPORTER"; os.Getenv(name) {
	case "otlp":
		return true
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
	case "none":
	default:
		r.fail(name, "is no exporter of ours: write otlp or none")
	}
	return false
}

func (r *reader) protocol(signal string) string {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch p := os.Getenv(name); p {
		case overGRPC, overHTTP:
			return p
		case "":
		default:
			r.fail(name, "is no protocol of ours: write "+overGRPC+" or "+overHTTP)
		}
	}
	return overHTTP
}

func (r *reader) number(name string, byDefault, least int) int {
	text := os.Getenv(name)
	if text == "" {
		return byDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		r.fail(name, fmt.Sprintf("must be a whole number, at least %d", least))
		return byDefault
	}
	return n
}

func (r *reader) milliseconds(name string, byDefault int) time.Duration {
	return time.Duration(r.number(name, byDefault, 1)) * time.Millisecond
}

func (e *environ) spanClient() otlptrace.Client {
	if e.protocol["TRACES"] == overGRPC {
		return otlptracegrpc.NewClient()
	}
	return otlptracehttp.NewClient()
}

func (e *environ) metricExporter() (to sdkmetric.Exporter, err error) {
	if e.protocol["METRICS"] == overGRPC {
		to, err = otlpmetricgrpc.New(context.Background())
	} else {
		to, err = otlpmetrichttp.New(context.Background())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot export metrics; see the OTEL_EXPORTER_OTLP_ variables: %w", err)
	}
	return to, nil
}
