package telemetry

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// OpenMetricsType is the media type of what OpenMetrics writes.
const OpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// exemplar is a traced request that fell into a bucket.
type exemplar struct {
	trace [32]byte // hex digits
	value float64
	at    time.Time
}

// Exemplar shows a traced request in the bucket that its value fell into, in place of
// the one that was there. Only requests that are traced pay for it.
func (h *Histogram) Exemplar(trace []byte, value float64, at time.Time) {
	x := &exemplar{value: value, at: at}
	copy(x.trace[:], trace)
	h.latest[h.bucket(value)].Store(x)
}

// exemplars are those that the process's histograms have, by the bucket's whole name.
func (m *Metrics) exemplars() map[string]*exemplar {
	all := map[string]*exemplar{}
	for _, f := range *m.sorted.Load() {
		if f.kind != histogramKind || f.series.Load() == nil {
			continue
		}
		for _, s := range *f.series.Load() {
			for i := range s.histogram.latest {
				if x := s.histogram.latest[i].Load(); x != nil {
					all[strings.TrimSuffix(s.histogram.names[i], " ")] = x
				}
			}
		}
	}
	return all
}

// OpenMetrics writes an exposition in text format 0.0.4 as OpenMetrics 1.0, with the
// exemplars that the metrics have. VictoriaMetrics's library knows neither.
func (m *Metrics) OpenMetrics(exposition []byte) []byte {
	exemplars := m.exemplars()
	out := bytes.NewBuffer(make([]byte, 0, len(exposition)+len(exposition)/16))
	var help []byte
	for line := range bytes.Lines(exposition) {
		line = bytes.TrimRight(line, "\n")
		switch {
		case bytes.HasPrefix(line, helpPrefix):
			help = line // what it is called depends on the type, which comes next
			continue
		case bytes.HasPrefix(line, typePrefix):
			writeOpenHeader(out, help, line)
			help = nil
		case bytes.Contains(line, bucketInfix):
			writeBucket(out, line, exemplars)
		default:
			out.Write(line)
		}
		out.WriteByte('\n')
	}
	out.WriteString("# EOF\n")
	return out.Bytes()
}

var (
	helpPrefix, typePrefix = []byte("# HELP "), []byte("# TYPE ")
	bucketInfix            = []byte("_bucket{")
)

// writeOpenHeader names a counter's family without the suffix that its samples have.
// One whose samples have none is no counter in OpenMetrics.
func writeOpenHeader(out *bytes.Buffer, help, kind []byte) {
	name, word, _ := bytes.Cut(kind[len(typePrefix):], []byte(" "))
	family := name
	if string(word) == "counter" {
		short, total := bytes.CutSuffix(name, []byte("_total"))
		family = short
		if !total {
			word = []byte("unknown")
		}
	}
	if len(help) > 0 {
		out.Write(helpPrefix)
		out.Write(family)
		out.Write(help[len(helpPrefix)+len(name):])
		out.WriteByte('\n')
	}
	out.Write(typePrefix)
	out.Write(family)
	out.WriteByte(' ')
	out.Write(word)
}

// writeBucket writes a bucket's line, with its exemplar if it has one. OpenMetrics
// wants bounds as floats.
func writeBucket(out *bytes.Buffer, line []byte, exemplars map[string]*exemplar) {
	end := seriesEnd(line)
	if end <= 0 {
		out.Write(line)
		return
	}
	series := line[:end]
	at := bytes.LastIndex(series, []byte(`le="`))
	quote := bytes.LastIndexByte(series, '"')
	if at >= 0 && at+len(`le="`) <= quote && !bytes.ContainsAny(series[at+len(`le="`):quote], ".eI") {
		out.Write(series[:quote])
		out.WriteString(".0")
		out.Write(series[quote:])
	} else {
		out.Write(series)
	}
	out.Write(line[end:])
	if x := exemplars[string(series)]; x != nil {
		out.WriteString(` # {trace_id="` + string(x.trace[:]) + `"} ` + strconv.FormatFloat(x.value, 'g', -1, 64) + " " +
			strconv.FormatFloat(float64(x.at.UnixMilli())/1000, 'f', 3, 64))
	}
}
