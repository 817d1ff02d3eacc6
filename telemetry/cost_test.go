package telemetry

import (
	"io"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// accessFields are those of a request's line, in the order of the schema.
func accessFields(fields []zap.Field) []zap.Field {
	return append(fields,
		zap.String("request_id", "9f86d081884c7d65"),
		zap.String("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
		zap.String("span_id", "00f067aa0ba902b7"),
		zap.String("tenant", "default"),
		zap.String("key", "laptop"),
		zap.String("agent", "agent-7"),
		zap.String("method", "POST"),
		zap.String("path", "/v1/chat/completions"),
		zap.Int("status", 200),
		zap.String("finish", "stop"),
		zap.Float64("duration_ms", 1234.567),
		zap.Float64("ttft_ms", 98.765),
		zap.Float64("queue_ms", 0.042),
		zap.Int("prompt_tokens", 1234),
		zap.Int("cached_tokens", 1024),
		zap.Int("completion_tokens", 256),
		zap.Int64("bytes_in", 4321),
		zap.Int64("bytes_out", 65432),
		zap.String("client", "10.1.2.3:54321"),
	)
}

func BenchmarkAccessLine(b *testing.B) {
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	fields := make([]zap.Field, 0, 24)
	b.ReportAllocs()
	for b.Loop() {
		fields = accessFields(fields[:0])
		if ce := l.Zap().Check(zapcore.InfoLevel, "request"); ce != nil {
			ce.Write(fields...)
		}
	}
	b.ReportMetric(float64(l.Dropped()), "dropped")
}

// accessLine is the same, put together by its writer.
func accessLine(n *Line) {
	n.Text("request_id", "9f86d081884c7d65")
	n.Text("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")
	n.Text("span_id", "00f067aa0ba902b7")
	n.Text("tenant", "default")
	n.Text("key", "laptop")
	n.Text("agent", "agent-7")
	n.Text("method", "POST")
	n.Text("path", "/v1/chat/completions")
	n.Number("status", 200)
	n.Text("finish", "stop")
	n.Milliseconds("duration_ms", 1234567*time.Microsecond)
	n.Milliseconds("ttft_ms", 98765*time.Microsecond)
	n.Milliseconds("queue_ms", 42*time.Microsecond)
	n.Number("prompt_tokens", 1234)
	n.Number("cached_tokens", 1024)
	n.Number("completion_tokens", 256)
	n.Number("bytes_in", 4321)
	n.Number("bytes_out", 65432)
	n.Text("client", "10.1.2.3:54321")
}

func BenchmarkOwnAccessLine(b *testing.B) {
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var n Line
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if l.Begin(&n, zapcore.InfoLevel, "request") {
			accessLine(&n)
			l.End(&n, now)
		}
	}
	b.ReportMetric(float64(l.Dropped()), "dropped")
}

// BenchmarkEncodeLine is the part that the request's goroutine pays outside the lock.
func BenchmarkEncodeLine(b *testing.B) {
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	fields := accessFields(nil)
	buf := make([]byte, 0, 1024)
	e := zapcore.Entry{Message: "request"}
	b.ReportAllocs()
	for b.Loop() {
		buf = l.core.appendTail(buf[:0], e, fields)
	}
}

func TestAccessLineLeavesNoGarbage(t *testing.T) {
	l, _ := openTest(t, LogConfig{})
	fields := make([]zap.Field, 0, 24)
	if n := testing.AllocsPerRun(2000, func() {
		fields = accessFields(fields[:0])
		l.Zap().Check(zapcore.InfoLevel, "request").Write(fields...)
	}); n > poolLoss {
		t.Errorf("%v allocations a line, want %d", n, poolLoss)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := NewMetrics("proxy")
	v := m.HistogramVec("semantic_request_duration_seconds", "Durations.", []float64{.001, .01, .1, 1, 10, 60}, 100, "path")
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/models"} {
		v.With(path).Update(1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	proxy, engine := []byte(exposition(b, NewMetrics("proxy"))), []byte(exposition(b, NewMetrics("engine")))
	b.ReportAllocs()
	for b.Loop() {
		if err := Merge(io.Discard, proxy, engine); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMergeOfAPod has as many series as a pod.
func BenchmarkMergeOfAPod(b *testing.B) {
	var parts [2][]byte
	for i, process := range []string{"proxy", "engine"} {
		m := NewMetrics(process)
		v := m.HistogramVec("semantic_"+process+"_seconds", "Durations.", []float64{.0001, .00025, .0005, .001, .0025, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .2, .3, .5, 1, 2.5}, 100, "path")
		for n := range 20 {
			v.With("/v1/path/" + string(rune('a'+n))).Update(1)
		}
		parts[i] = []byte(exposition(b, m))
	}
	b.SetBytes(int64(len(parts[0]) + len(parts[1])))
	b.ReportAllocs()
	for b.Loop() {
		if err := Merge(io.Discard, parts[0], parts[1]); err != nil {
			b.Fatal(err)
		}
	}
}
