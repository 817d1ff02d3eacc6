package telemetry

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestOpenMetricsHasExemplarsAndTheOldFormatNone(t *testing.T) {
	m := NewMetrics("proxy")
	m.Counter("semantic_x_total", "", "Some.").Add(3)
	m.Counter("semantic_odd", "", "A counter whose name does not say so.").Inc()
	v := m.HistogramVec("semantic_y_seconds", "Durations.", []float64{0.5, 1, 2}, 2, "path")
	v.With("/a").Update(0.7)
	v.With("/a").Exemplar([]byte("00000000000000000000000000000001"), 0.6, time.Now())
	v.With("/a").Exemplar([]byte("4bf92f3577b34da6a3ce929d0e0e4736"), 0.7, time.Now()) // the latest is shown
	v.With("/a").Exemplar([]byte("4bf92f3577b34da6a3ce929d0e0e4736"), 99, time.Now())
	plain := exposition(t, m)
	if strings.Contains(plain, "trace_id") || strings.Contains(plain, "# EOF") {
		t.Errorf("the text format has exemplars:\n%s", plain)
	}
	open := string(m.OpenMetrics([]byte(plain)))
	for _, want := range []string{
		"\n# HELP semantic_x Some.\n# TYPE semantic_x counter\nsemantic_x_total 3\n",
		"\n# TYPE semantic_odd unknown\nsemantic_odd 1\n",
		`semantic_y_seconds_bucket{path="/a",le="0.5"} 0` + "\n",
		`semantic_y_seconds_bucket{path="/a",le="1.0"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.7 T` + "\n",
		`semantic_y_seconds_bucket{path="/a",le="2.0"} 1` + "\n",
		`semantic_y_seconds_bucket{path="/a",le="+Inf"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 99 T` + "\n",
	} {
		got := regexp.MustCompile(`(\} [0-9.]+) 1[0-9]{9}\.[0-9]{3}\n`).ReplaceAllString(open, "$1 T\n")
		if !strings.Contains(got, want) {
			t.Errorf("there is no\n%s\nin\n%s", want, got[strings.Index(got, "# HELP semantic"):])
		}
	}
	if !strings.HasSuffix(open, "\n# EOF\n") || strings.Count(open, "# EOF") != 1 {
		t.Error("it does not end as OpenMetrics does")
	}
}

func TestSamplesAreReadAsTheyWereWritten(t *testing.T) {
	all, err := ReadSamples([]byte("# TYPE a gauge\na{x=\"1\\\"},{\\\\\\n\",y=\"\"} 1.5e3 1700000000\nb 2\nc{} NaN\n"))
	if err != nil || len(all) != 3 {
		t.Fatalf("%v: %+v", err, all)
	}
	if all[0].Label("x") != "1\"},{\\\n" || len(all[0].Labels) != 2 || all[0].Value != 1500 || all[1].Name != "b" || all[2].Name != "c" {
		t.Errorf("read as %+v", all)
	}
	for _, bad := range []string{"a{x=\"1 2\n", "a\n", "a{x=1} 2\n", "a b\n"} {
		if _, err := ReadSamples([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
