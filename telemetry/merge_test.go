package telemetry

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestMergeGivesAFamilyOneHeader(t *testing.T) {
	proxy := `# HELP go_goroutines Goroutines.
# TYPE go_goroutines gauge
go_goroutines{process="proxy"} 7
# HELP semantic_request_total Requests.
# TYPE semantic_request_total counter
semantic_request_total{path="/} # \"{"} 1
`
	engine := `# HELP go_goroutines Goroutines.
# TYPE go_goroutines gauge
go_goroutines{process="engine"} 9
# HELP semantic_decode_step_seconds Steps.
# TYPE semantic_decode_step_seconds histogram
semantic_decode_step_seconds_bucket{le="0.1"} 1
semantic_decode_step_seconds_bucket{le="+Inf"} 2
semantic_decode_step_seconds_sum 3
semantic_decode_step_seconds_count 2
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running 0`
	want := `# HELP go_goroutines Goroutines.
# TYPE go_goroutines gauge
go_goroutines{process="proxy"} 7
go_goroutines{process="engine"} 9
# HELP semantic_decode_step_seconds Steps.
# TYPE semantic_decode_step_seconds histogram
semantic_decode_step_seconds_bucket{le="0.1"} 1
semantic_decode_step_seconds_bucket{le="+Inf"} 2
semantic_decode_step_seconds_sum 3
semantic_decode_step_seconds_count 2
# HELP semantic_request_total Requests.
# TYPE semantic_request_total counter
semantic_request_total{path="/} # \"{"} 1
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running 0
`
	var got bytes.Buffer
	if err := Merge(&got, []byte(proxy), []byte(engine)); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("merged\n%swant\n%s", got.String(), want)
	}
}

// Lines that end otherwise, or stand apart from their family's others, are not lost.
func TestMergeKeepsLinesHoweverTheyEnd(t *testing.T) {
	odd := "# TYPE a_total counter\na_total{x=\"1\"} 1\r\na_total{x=\"2\"} 2\na_total{x=\"3\"} 3\n# TYPE b gauge\nb 1\n# TYPE a_total counter\na_total{x=\"4\"} 4\na_total{x=\"5\"} 5"
	want := "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\na_total{x=\"3\"} 3\na_total{x=\"4\"} 4\na_total{x=\"5\"} 5\n# TYPE b gauge\nb 1\n"
	var got bytes.Buffer
	if err := Merge(&got, []byte(odd)); err != nil || got.String() != want {
		t.Errorf("%v: merged\n%swant\n%s", err, got.String(), want)
	}
}

func TestMergeReportsWhatItLeavesOutAndWritesTheRest(t *testing.T) {
	first := "# TYPE a_total counter\na_total{x=\"1\"} 1\n# TYPE b gauge\nb 2\n"
	second := "# TYPE a_total counter\na_total{x=\"1\"} 5\na_total{x=\"2\"} 6\n# TYPE b counter\nb 3\nc{x=\"1 4\n"
	var got bytes.Buffer
	err := Merge(&got, []byte(first), []byte(second))
	want := "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 6\n# TYPE b gauge\nb 2\n"
	if got.String() != want {
		t.Errorf("merged\n%swant\n%s", got.String(), want)
	}
	for _, part := range []string{`a_total{x="1"} stands in two`, "metric b: it is a gauge and a counter", `cannot read the metrics line "c{x=\"1 4"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error %v does not say %q", err, part)
		}
	}
}

func TestMergeOfOnePartIsThatPart(t *testing.T) {
	text := exposition(t, NewMetrics("proxy"))
	var got bytes.Buffer
	if err := Merge(&got, []byte(text), nil); err != nil {
		t.Fatal(err)
	}
	if got.String() != text {
		t.Errorf("merged\n%swant\n%s", got.String(), text)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestMergeReportsAWriterThatFails(t *testing.T) {
	if err := Merge(brokenWriter{}, []byte("a 1\n")); err == nil {
		t.Error("no error")
	}
}
