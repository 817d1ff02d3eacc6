// Package otlp sends what a process tells about itself to an OpenTelemetry
// collector: spans, and the same metrics that a scrape reads. It obeys the standard
// OTEL_* variables, and without them there is nothing: no goroutine, no connection,
// no cost.
//
// Nothing here ever waits on the request path. Spans go into a bounded queue, and
// what finds no room there, or no collector, is counted.
//
// Read: otlp (what is sent, and its beginning and end), environ (the variables),
// sample (which requests are traced), span, encode (spans into OTLP's form), queue, metrics (the periodic export),
// convert (families into OTLP's form), genai (OpenTelemetry's names).
package otlp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/telemetry"
)

// scope names what made the spans and metrics.
const scope = "github.com/semantic-pod/semantic"

// Exporter sends a process's spans and metrics. A nil one is what a process has that
// sends none: each method can be called on it, and does nothing.
type Exporter struct {
	log     *zap.Logger
	sampler sampler
	traces  *queue      // nil without traces
	metrics *metricLoop // nil without metrics
}

// Open reads the variables and starts what they ask for. A variable with a value that
// it cannot have is an error. The series of what is lost is declared in any case.
func Open(process string, m *telemetry.Metrics, log *zap.Logger) (*Exporter, error) {
	const help = "Spans, and exports of metrics, that did not reach the OpenTelemetry collector."
	lostSpans := m.Counter("semantic_telemetry_dropped_total", `process="`+process+`",signal="traces"`, help)
	lostMetrics := m.Counter("semantic_telemetry_dropped_total", `process="`+process+`",signal="metrics"`, help)
	env, err := readEnviron()
	if err != nil || !env.traces && !env.metrics {
		return nil, err
	}
	about, err := describe(process)
	if err != nil {
		return nil, fmt.Errorf("cannot use OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// What the libraries have to say comes back as errors of the exports, too.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("OpenTelemetry", zap.Error(err)) }))
	e := &Exporter{log: log, sampler: env.sampler}
	if env.traces {
		resource, own := preamble(about.Attributes(), telemetry.ReadBuild().Version)
		if e.traces, err = newQueue(env.spanClient(), env.queue, resource, own, lostSpans, log); err != nil {
			return nil, fmt.Errorf("cannot export traces; see the OTEL_EXPORTER_OTLP_ variables: %w", err)
		}
	}
	if env.metrics {
		to, err := env.metricExporter()
		if err != nil {
			return nil, err
		}
		e.metrics = startMetrics(to, env.interval, env.timeout, about, m, lostMetrics, log)
	}
	return e, nil
}

// describe is the resource: the process, as OpenTelemetry names its properties.
func describe(process string) (*resource.Resource, error) {
	return resource.New(context.Background(),
		resource.WithAttributes(
			attribute.String("service.name", "semantic"),
			attribute.String("service.version", telemetry.ReadBuild().Version),
			attribute.String("semantic.process", process),
		),
		resource.WithHost(), resource.WithProcessPID(),
		resource.WithFromEnv(), // last: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES overrule
	)
}

// closeTimeout is how long the last spans and numbers get to be sent. A stop has a
// budget, in which the requests come first.
const closeTimeout = 500 * time.Millisecond

// Close sends what waits, for half a second at most, and ends everything.
func (e *Exporter) Close() error {
	if e == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if e.metrics != nil {
		errs = append(errs, e.metrics.close(ctx))
	}
	if e.traces != nil {
		errs = append(errs, e.traces.shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		e.log.Warn("the last spans or metrics did not reach the collector", zap.Error(err))
	}
	return nil // a collector that is away is no fault of this process
}
