package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// collector is a real OpenTelemetry Collector, which writes what it gets to files.
type collector struct {
	dir        string
	grpc, http int
	cmd        *exec.Cmd
	left       chan struct{}
}

var otelcol = filepath.Join(root, ".tools", "otelcol")

// startCollector starts one with folders and ports of its own.
func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{dir: shortDir(t)}
	for _, port := range []*int{&c.grpc, &c.http} {
		free, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		*port = free
	}
	config := fmt.Sprintf(`
receivers: {otlp: {protocols: {grpc: {endpoint: %q}, http: {endpoint: %q}}}}
exporters:
  file/traces: {path: %s, append: true, flush_interval: 50ms}
  file/metrics: {path: %s, append: true, flush_interval: 50ms}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [file/traces]}
    metrics: {receivers: [otlp], exporters: [file/metrics]}
  telemetry: {metrics: {level: none}}
`, address(c.grpc), address(c.http), c.file("traces"), c.file("metrics"))
	if err := os.WriteFile(filepath.Join(c.dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	t.Cleanup(c.kill)
	return c
}

func (c *collector) file(of string) string { return filepath.Join(c.dir, of+".json") }

func (c *collector) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, of := range []string{"traces", "metrics"} {
		endLine(t, c.file(of))
	}
	c.cmd = exec.Command(otelcol, "--config", filepath.Join(c.dir, "config.yaml"))
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	c.left = make(chan struct{})
	go func(cmd *exec.Cmd, left chan struct{}) { _ = cmd.Wait(); close(left) }(c.cmd, c.left)
	for _, port := range []int{c.grpc, c.http} {
		await(t, "the collector to listen", func() bool {
			conn, err := net.DialTimeout("tcp", address(port), time.Second)
			if err != nil {
				return false
			}
			return conn.Close() == nil
		})
	}
}

// endLine ends the line that a killed collector left torn, so that the next one's first
// stands by itself.
func endLine(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || bytes.HasSuffix(b, []byte("\n")) {
		return // it has written nothing, or whole lines
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *collector) kill() {
	_ = c.cmd.Process.Kill()
	<-c.left
}

// environ makes a pod send spans over gRPC and metrics over HTTP to the collector.
func (c *collector) environ() []string {
	return append(c.hurried(),
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://"+address(c.grpc), "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://"+address(c.http)+"/v1/metrics")
}

// theOtherWay makes it send spans over HTTP and metrics over gRPC.
func (c *collector) theOtherWay() []string {
	return append(c.hurried(),
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://"+address(c.http)+"/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://"+address(c.grpc), "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc")
}

// hurried makes exports quick, so that a test need not wait for them.
func (c *collector) hurried() []string {
	return []string{"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BSP_EXPORT_TIMEOUT=2000", "OTEL_METRIC_EXPORT_TIMEOUT=2000"}
}

// otlpValue is an attribute's value in OTLP's JSON.
type otlpValue struct {
	String *string                       `json:"stringValue"`
	Int    *string                       `json:"intValue"`
	Double *float64                      `json:"doubleValue"`
	Array  *struct{ Values []otlpValue } `json:"arrayValue"`
}

type otlpAttributes []struct {
	Key   string
	Value otlpValue
}

func (a otlpAttributes) str(key string) string {
	for _, kv := range a {
		if kv.Key == key {
			switch v := kv.Value; {
			case v.String != nil:
				return *v.String
			case v.Int != nil:
				return *v.Int
			case v.Array != nil && len(v.Array.Values) > 0 && v.Array.Values[0].String != nil:
				return *v.Array.Values[0].String
			case v.Double != nil:
				return strconv.FormatFloat(*v.Double, 'f', -1, 64)
			}
		}
	}
	return ""
}

func (a otlpAttributes) num(key string) float64 {
	v, _ := strconv.ParseFloat(a.str(key), 64) // 0 where there is none
	return v
}

// span is one that the collector got.
type spanData struct {
	process                             string
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	StartTimeUnixNano, EndTimeUnixNano  string
	Attributes                          otlpAttributes
	Links                               []struct{ TraceID, SpanID string }
	Status                              struct {
		Code    int
		Message string
	}
}

func (s *spanData) start() int64 { return nanos(s.StartTimeUnixNano) }
func (s *spanData) end() int64   { return nanos(s.EndTimeUnixNano) }

func nanos(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// spans reads what has come until now.
func (c *collector) spans(t *testing.T) []spanData {
	t.Helper()
	var all []spanData
	c.read(t, "traces", func(line []byte) error {
		var batch struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes otlpAttributes }
				ScopeSpans []struct{ Spans []spanData }
			}
		}
		if err := json.Unmarshal(line, &batch); err != nil {
			return err
		}
		for _, r := range batch.ResourceSpans {
			for _, s := range r.ScopeSpans {
				for _, one := range s.Spans {
					one.process = r.Resource.Attributes.str("semantic.process")
					all = append(all, one)
				}
			}
		}
		return nil
	})
	return all
}

// read gives each whole line of one of the collector's files to f.
func (c *collector) read(t *testing.T, of string, f func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile(c.file(of))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	scan := bufio.NewScanner(bytes.NewReader(b))
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		if !json.Valid(scan.Bytes()) {
			continue // torn when the collector was killed
		}
		if err := f(scan.Bytes()); err != nil {
			t.Fatalf("the collector's %s: %v in %.200s", of, err, scan.Bytes())
		}
	}
}

// trace waits until the collector has so many spans of a trace.
func (c *collector) trace(t *testing.T, id string, spans int, names ...string) map[string]spanData {
	t.Helper()
	var found map[string]spanData
	await(t, fmt.Sprintf("%d spans of trace %s", spans, id), func() bool {
		found = map[string]spanData{}
		for _, s := range c.spans(t) {
			if s.TraceID == id {
				found[s.Name] = s
			}
		}
		missing := slices.ContainsFunc(names, func(name string) bool { _, ok := found[name]; return !ok })
		return len(found) >= spans && !missing
	})
	return found
}

// points reads the latest value of each exported series of a process: numbers by the
// metric's name and attributes, histograms as their count and sum.
func (c *collector) points(t *testing.T, process string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	c.read(t, "metrics", func(line []byte) error {
		var batch struct {
			ResourceMetrics []struct {
				Resource     struct{ Attributes otlpAttributes }
				ScopeMetrics []struct{ Metrics []exportedMetric }
			}
		}
		if err := json.Unmarshal(line, &batch); err != nil {
			return err
		}
		for _, r := range batch.ResourceMetrics {
			if r.Resource.Attributes.str("semantic.process") != process {
				continue
			}
			for _, s := range r.ScopeMetrics {
				for _, m := range s.Metrics {
					m.into(all)
				}
			}
		}
		return nil
	})
	return all
}

// exportedMetric is a metric in OTLP's JSON.
type exportedMetric struct {
	Name                  string
	Sum, Gauge, Histogram struct {
		DataPoints []struct {
			Attributes otlpAttributes
			AsDouble   otlpNumber
			Sum        otlpNumber
			Count      string
		}
	}
}

// otlpNumber is a float, which OTLP's JSON writes as a string when it is none.
type otlpNumber float64

func (n *otlpNumber) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	*n = otlpNumber(v)
	return err
}

func (m *exportedMetric) into(all map[string]float64) {
	for _, d := range append(m.Sum.DataPoints, m.Gauge.DataPoints...) {
		all[m.Name+d.Attributes.text()] = float64(d.AsDouble)
	}
	for _, d := range m.Histogram.DataPoints {
		n, _ := strconv.ParseFloat(d.Count, 64)
		all[m.Name+"_count"+d.Attributes.text()], all[m.Name+"_sum"+d.Attributes.text()] = n, float64(d.Sum)
	}
}

// text writes attributes as the exposition has labels, sorted by name.
func (a otlpAttributes) text() string {
	if len(a) == 0 {
		return ""
	}
	pairs := make([]string, len(a))
	for i, kv := range a {
		pairs[i] = kv.Key + `="` + a.str(kv.Key) + `"`
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, ",") + "}"
}
