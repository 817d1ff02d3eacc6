package sidecar

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// otelcol is the OpenTelemetry Collector, which make test-setup builds.
const otelcol = "../.tools/otelcol"

// collector is a real one, which writes what it takes to a file before it says so.
type collector struct {
	t       testing.TB
	dir     string
	address string
	starts  int
	cmd     *exec.Cmd
	said    *lockedBuffer // of the present start
}

// newCollector makes one that is not started.
func newCollector(t testing.TB) *collector {
	t.Helper()
	c := &collector{t: t, dir: t.TempDir(), address: freeAddress(t)}
	t.Cleanup(c.kill)
	return c
}

func (c *collector) url() string { return "http://" + c.address }

// start returns when it listens. Each start has a file of its own, since a kill may
// tear the last line of one.
func (c *collector) start() {
	c.t.Helper()
	c.starts++
	config := write(c.t, c.dir, "config.yaml", fmt.Sprintf(`
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {file: {path: %s, rotation: {max_megabytes: 10000}}}
service:
  pipelines: {logs: {receivers: [otlp], exporters: [file]}}
  telemetry: {metrics: {level: none}}
`, c.address, c.file(c.starts))) // with rotation set it writes through; without, it buffers what it has taken
	c.cmd = exec.Command(otelcol, "--config", config)
	c.said = new(lockedBuffer)
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	if err := startChild(c.cmd); err != nil {
		c.t.Fatalf("%v; run: make test-setup", err)
	}
	within(c.t, time.Minute, "the collector listens", func() bool {
		if c.cmd.Process.Signal(syscall.Signal(0)) != nil || strings.Contains(c.said.String(), "address already in use") {
			c.t.Fatalf("the collector does not start:\n%s", c.said) // whoever listens is a stranger
		}
		conn, err := net.DialTimeout("tcp", c.address, time.Second)
		if err != nil {
			return false
		}
		return conn.Close() == nil && strings.Contains(c.said.String(), "Everything is ready")
	})
}

func (c *collector) kill() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.cmd = nil
}

// size is that of all that its starts took.
func (c *collector) size() (total int64) {
	for n := 1; n <= c.starts; n++ {
		if info, err := os.Stat(c.file(n)); err == nil {
			total += info.Size()
		}
	}
	return total
}

func (c *collector) file(start int) string {
	return filepath.Join(c.dir, fmt.Sprintf("logs-%d.json", start))
}

// taken is a line that the collector has.
type taken struct {
	Process, Body, Boot, TraceID, SpanID, Severity string
	Seq                                            int
	At                                             time.Time
	Attributes                                     map[string]any
}

// all reads what all its starts took, in the order of its files.
func (c *collector) all() []taken {
	c.t.Helper()
	var list []taken
	for n := 1; n <= c.starts; n++ {
		f, err := os.Open(c.file(n))
		if os.IsNotExist(err) {
			continue // it took nothing
		}
		if err != nil {
			c.t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			more, err := readExport(lines.Bytes())
			if err != nil && lines.Scan() {
				c.t.Fatalf("in the middle of %s: %v", f.Name(), err)
			}
			list = append(list, more...)
		}
		f.Close()
	}
	return list
}

type otlpValue struct {
	StringValue *string
	IntValue    *string
	DoubleValue *float64
	BoolValue   *bool
}

func (v otlpValue) value() any {
	switch {
	case v.StringValue != nil:
		return *v.StringValue
	case v.IntValue != nil:
		n, _ := strconv.Atoi(*v.IntValue)
		return n
	case v.DoubleValue != nil:
		return *v.DoubleValue
	case v.BoolValue != nil:
		return *v.BoolValue
	}
	return nil
}

type otlpAttribute struct {
	Key   string
	Value otlpValue
}

// readExport reads a line of the collector's file: OTLP in JSON.
func readExport(text []byte) ([]taken, error) {
	var export struct {
		ResourceLogs []struct {
			Resource  struct{ Attributes []otlpAttribute }
			ScopeLogs []struct {
				LogRecords []struct {
					TimeUnixNano, SeverityText, TraceID, SpanID string
					Body                                        otlpValue
					Attributes                                  []otlpAttribute
				}
			}
		}
	}
	if err := json.Unmarshal(text, &export); err != nil {
		return nil, err
	}
	var list []taken
	for _, r := range export.ResourceLogs {
		process := ""
		for _, a := range r.Resource.Attributes {
			if a.Key == "semantic.process" {
				process, _ = a.Value.value().(string)
			}
		}
		for _, s := range r.ScopeLogs {
			for _, l := range s.LogRecords {
				one := taken{Process: process, TraceID: l.TraceID, SpanID: l.SpanID, Severity: l.SeverityText, Attributes: map[string]any{}}
				one.Body, _ = l.Body.value().(string)
				for _, a := range l.Attributes {
					one.Attributes[a.Key] = a.Value.value()
				}
				one.Boot, _ = one.Attributes["boot"].(string)
				one.Seq, _ = one.Attributes["seq"].(int)
				ns, _ := strconv.ParseInt(l.TimeUnixNano, 10, 64)
				one.At = time.Unix(0, ns)
				list = append(list, one)
			}
		}
	}
	return list, nil
}
