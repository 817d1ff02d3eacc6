package top

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/semantic-pod/semantic/telemetry"
)

// seen is a look at an exposition, so many seconds after the first.
func seen(t *testing.T, seconds float64, exposition string) *look {
	t.Helper()
	samples, err := telemetry.ReadSamples([]byte(exposition))
	if err != nil {
		t.Fatal(err)
	}
	l := &look{at: time.Unix(1_800_000_000, 0).Add(time.Duration(seconds * float64(time.Second))), series: map[string][]telemetry.Sample{}}
	for _, s := range samples {
		l.series[s.Name] = append(l.series[s.Name], s)
	}
	return l
}

func TestRatesAreOfTheWindowAlone(t *testing.T) {
	w := window{span: 2 * time.Second}
	for second, total := range []string{"100", "110", "130", "160"} {
		w.add(seen(t, float64(second), `x_total{path="/a"} `+total+"\nx_total{path=\"/b\"} 5\n"))
	}
	if got := w.rate("x_total"); got != 25 { // (160−110) in the last 2 s
		t.Errorf("the rate is %v, want 25", got)
	}
	if got := w.rate("x_total", "path", "/b"); got != 0 {
		t.Errorf("a series that stands still has the rate %v", got)
	}
	if got := w.value("x_total"); got != 165 {
		t.Errorf("the value is %v, want 165", got)
	}
}

// A process that restarts counts from 0: what it counted since is the increase.
func TestACounterThatFallsBeganAnew(t *testing.T) {
	w := window{span: time.Minute}
	for second, total := range []string{"100", "3", "10"} {
		w.add(seen(t, float64(second), "x_total "+total+"\n"))
	}
	if got := w.increase("x_total"); got != 10 {
		t.Errorf("the increase is %v, want 10", got)
	}
}

func TestQuantilesAreOfTheBucketsIncreases(t *testing.T) {
	w := window{span: time.Minute}
	w.add(seen(t, 0, "d_bucket{le=\"0.1\"} 1000\nd_bucket{le=\"0.2\"} 1000\nd_bucket{le=\"+Inf\"} 1000\n"))
	w.add(seen(t, 1, "d_bucket{le=\"0.1\"} 1050\nd_bucket{le=\"0.2\"} 1090\nd_bucket{le=\"+Inf\"} 1100\n"))
	all := w.buckets("d")
	for q, want := range map[float64]float64{.25: .05, .5: .1, .7: .15, .99: .2} {
		if got := quantile(q, all); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := quantile(.5, w.buckets("none")); got == got {
		t.Errorf("a quantile of nothing is %v", got)
	}
}

// The screen fits every size, whatever names its makers gave.
func TestTheScreenFitsTheTerminal(t *testing.T) {
	w := window{span: time.Minute}
	w.add(seen(t, 0, "semantic_engine_up 1\n"))
	l := seen(t, 1, "semantic_engine_up 1\nsemantic_pool_utilization_ratio 0.95\nsemantic_key_limit_used_ratio{key=\"ci\"} 0.5\n")
	l.ready.Status = "ready"
	for range 30 {
		l.agents = append(l.agents, agent{ID: "agent-\x1b[2J\u202e" + strings.Repeat("ü", 80), Tier: "hot", Tokens: 12, Bytes: 1 << 20, LastUsed: l.at.Unix() - 3})
		l.alerts = append(l.alerts, alert{Name: "SemanticEngineDown", State: "firing", Severity: "critical", Summary: strings.Repeat("down ", 40), Since: l.at.Add(-time.Minute)})
	}
	w.add(l)
	cfg := &Config{URL: "http://127.0.0.1:8000", Interval: time.Second}
	for _, size := range [][2]int{{20, 4}, {40, 10}, {80, 24}, {120, 40}, {300, 80}} {
		text := render(cfg, &w, nil, size[0], size[1])
		lines := strings.Split(text, "\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if ansi.StringWidth(line) > size[0] {
				t.Errorf("%v: %d columns: %q", size, ansi.StringWidth(line), line)
			}
			if strings.Contains(line, "\x1b[2J") || strings.Contains(line, "\u202e") {
				t.Errorf("%v: an agent's name moves the cursor: %q", size, line)
			}
		}
		if !strings.Contains(plain(text), "q or ctrl-c") {
			t.Errorf("%v: nothing says how to leave:\n%s", size, plain(text))
		}
	}
	if text := plain(render(cfg, &w, errors.New("connection refused"), 120, 40)); !strings.Contains(text, "The pod is away: http://127.0.0.1:8000: connection refused") {
		t.Errorf("the screen does not say that the pod is away:\n%s", text)
	}
}

func TestSettingsThatCannotBeAreNamed(t *testing.T) {
	good := Config{URL: "http://127.0.0.1:8000", Interval: time.Second, Window: 10 * time.Second}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for flag, change := range map[string]func(*Config){
		"--interval": func(c *Config) { c.Interval = 0 }, "--window": func(c *Config) { c.Window = 1 },
		"--url": func(c *Config) { c.URL = "localhost:8000" }, "--sidecar-url": func(c *Config) { c.Sidecar = "x" },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
