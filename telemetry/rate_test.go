package telemetry

import (
	"testing"
	"time"
)

func TestRateLooksBackOnTenWholeSeconds(t *testing.T) {
	var r Rate
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	for s := range 30 {
		r.Add(at(float64(s)), 7)
		r.Add(at(float64(s)+0.9), 13)
	}
	for s, want := range map[float64]float64{29.95: 20, 30: 20, 35.5: 10, 39.99: 2, 40: 0, 1000: 0} {
		if got := r.PerSecond(at(s)); got != want {
			t.Errorf("after %v s the rate is %v, want %v", s, got, want)
		}
	}
	r.Add(at(2000), 50)
	if got := r.PerSecond(at(2001)); got != 5 {
		t.Errorf("after a pause the rate is %v, want 5", got)
	}
}

func TestInfoHasOneSeriesAtATime(t *testing.T) {
	m := NewMetrics("engine")
	i := m.Info("vllm:cache_config_info", "How the cache is.", "block_size", "num_gpu_blocks")
	if got := familyText(exposition(t, m), "vllm:cache_config_info"); got != "" {
		t.Errorf("before it is set: %s", got)
	}
	for _, blocks := range []string{"10", "20", "20"} {
		i.Set("16", blocks)
		want := "# HELP vllm:cache_config_info How the cache is.\n# TYPE vllm:cache_config_info gauge\n" +
			`vllm:cache_config_info{block_size="16",num_gpu_blocks="` + blocks + `"} 1` + "\n"
		if got := familyText(exposition(t, m), "vllm:cache_config_info"); got != want {
			t.Errorf("exposed\n%swant\n%s", got, want)
		}
	}
}

func TestDescribeTellsLabelsAndBuckets(t *testing.T) {
	m := NewMetrics("proxy")
	m.Counter("semantic_x_total", `reason="a\"b,c=",tier="hot"`, "Of the test.")
	m.HistogramVec("semantic_y_seconds", "Of the test.", []float64{1, 2}, 9, "path")
	found := 0
	for _, d := range m.Describe() {
		switch d.Name {
		case "semantic_x_total":
			found++
			if d.Kind != "counter" || len(d.Labels) != 2 || d.Labels[0] != "reason" || d.Labels[1] != "tier" {
				t.Errorf("described as %+v", d)
			}
		case "semantic_y_seconds":
			found++
			if d.Kind != "histogram" || len(d.Labels) != 1 || len(d.Bounds) != 2 {
				t.Errorf("described as %+v", d)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 families were described", found)
	}
	defer func() {
		if recover() == nil {
			t.Error("other labels for the same family were taken")
		}
	}()
	m.Counter("semantic_x_total", `reason="b"`, "Of the test.")
}
