package otlp

import (
	"bytes"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/semantic-pod/semantic/telemetry"
)

// convert reads the families as a scrape would and writes them in OTLP's form,
// OpenTelemetry's own names beside.
func convert(m *telemetry.Metrics, start, now time.Time) (metricdata.ScopeMetrics, error) {
	out := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: scope, Version: telemetry.ReadBuild().Version}}
	var text bytes.Buffer
	_, _ = m.WriteTo(&text) // a buffer takes all
	samples, err := telemetry.ReadSamples(text.Bytes())
	if err != nil {
		return out, err
	}
	for _, d := range m.Describe() {
		n := 0
		for n < len(samples) && belongs(&samples[n], &d) {
			n++
		}
		if n == 0 {
			continue // it has no series yet
		}
		family := metricdata.Metrics{Name: d.Name, Description: d.Help, Unit: unitOf(d.Name), Data: aggregate(samples[:n], &d, start, now)}
		out.Metrics = append(out.Metrics, family)
		out.Metrics = addGenAI(out.Metrics, family)
		samples = samples[n:]
	}
	return out, nil
}

// belongs says whether a sample is the family's. They come in the same order.
func belongs(s *telemetry.Sample, d *telemetry.Described) bool {
	tail, ok := strings.CutPrefix(s.Name, d.Name)
	return ok && (tail == "" || d.Kind == "histogram" && (tail == "_bucket" || tail == "_sum" || tail == "_count"))
}

// unitOf is what the name says it is measured in, in UCUM's letters.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for suffix, unit := range map[string]string{"_seconds": "s", "_bytes": "By", "_ratio": "1"} {
		if strings.HasSuffix(name, suffix) {
			return unit
		}
	}
	return ""
}

func aggregate(samples []telemetry.Sample, d *telemetry.Described, start, now time.Time) metricdata.Aggregation {
	if d.Kind == "histogram" {
		return histogram(samples, d, start, now)
	}
	points := make([]metricdata.DataPoint[float64], len(samples))
	for i, s := range samples {
		points[i] = metricdata.DataPoint[float64]{Attributes: attributes(s.Labels), StartTime: start, Time: now, Value: s.Value}
	}
	if d.Kind == "counter" {
		return metricdata.Sum[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	}
	for i := range points {
		points[i].StartTime = time.Time{}
	}
	return metricdata.Gauge[float64]{DataPoints: points}
}

// histogram takes the lines of each series: its buckets, which count cumulatively,
// its sum, and its count.
func histogram(samples []telemetry.Sample, d *telemetry.Described, start, now time.Time) metricdata.Aggregation {
	out := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
	point := metricdata.HistogramDataPoint[float64]{}
	below := 0.0
	for _, s := range samples {
		switch strings.TrimPrefix(s.Name, d.Name) {
		case "_bucket":
			point.BucketCounts = append(point.BucketCounts, uint64(s.Value-below))
			below = s.Value
		case "_sum":
			point.Sum = s.Value
		case "_count":
			point.Count = uint64(s.Value)
			point.Attributes, point.StartTime, point.Time, point.Bounds = attributes(s.Labels), start, now, d.Bounds
			out.DataPoints = append(out.DataPoints, point)
			point, below = metricdata.HistogramDataPoint[float64]{}, 0
		}
	}
	return out
}

func attributes(labels []telemetry.Label) attribute.Set {
	kv := make([]attribute.KeyValue, len(labels))
	for i, l := range labels {
		kv[i] = attribute.String(l.Name, l.Value)
	}
	return attribute.NewSet(kv...)
}
