package telemetry

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// metricValue reads one series of the exposition.
func metricValue(t testing.TB, m *Metrics, series string) float64 {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no series %s in\n%s", series, b.String())
	return 0
}

func exposition(t testing.TB, m *Metrics) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// family cuts one family out of an exposition.
func familyText(text, name string) string {
	var b strings.Builder
	in := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# HELP ") {
			in = strings.HasPrefix(line, "# HELP "+name+" ")
		}
		if in {
			b.WriteString(line)
		}
	}
	return b.String()
}

// promtool runs Debian's promtool over an exposition.
func promtool(t testing.TB, text string) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal(`promtool is missing (Debian package prometheus): run "make test-setup"`)
	}
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func TestFamilyHasOneHelpOneTypeAndSortedSeries(t *testing.T) {
	m := NewMetrics("proxy")
	m.Counter("semantic_b_total", `class="stop"`, `Ends, by class: \ and
newline.`).Add(3)
	m.Counter("semantic_b_total", `class="length"`, "Ends, by class: \\ and\nnewline.").Inc()
	m.Gauge("semantic_a", "", "A gauge.").Set(0.5)
	h := m.Histogram("semantic_c_seconds", `method="GET"`, "A histogram.", []float64{0.0001, 0.5, 2, 10})
	for _, v := range []float64{0.0001, 0.4, 3, 30} {
		h.Update(v)
	}
	text := exposition(t, m)
	for name, want := range map[string]string{
		"semantic_a": "# HELP semantic_a A gauge.\n# TYPE semantic_a gauge\nsemantic_a 0.5\n",
		"semantic_b_total": `# HELP semantic_b_total Ends, by class: \\ and\nnewline.
# TYPE semantic_b_total counter
semantic_b_total{class="length"} 1
semantic_b_total{class="stop"} 3
`,
		"semantic_c_seconds": `# HELP semantic_c_seconds A histogram.
# TYPE semantic_c_seconds histogram
semantic_c_seconds_bucket{method="GET",le="0.0001"} 1
semantic_c_seconds_bucket{method="GET",le="0.5"} 2
semantic_c_seconds_bucket{method="GET",le="2"} 2
semantic_c_seconds_bucket{method="GET",le="10"} 3
semantic_c_seconds_bucket{method="GET",le="+Inf"} 4
semantic_c_seconds_sum{method="GET"} 33.4001
semantic_c_seconds_count{method="GET"} 4
`,
	} {
		if got := familyText(text, name); got != want {
			t.Errorf("%s is exposed as\n%swant\n%s", name, got, want)
		}
	}
	var names []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("families are not sorted: %q", names)
	}
}

func TestPromtoolFindsNothing(t *testing.T) {
	proxy, sidecar := NewMetrics("proxy"), NewMetrics("sidecar")
	for _, m := range []*Metrics{proxy, sidecar} {
		l, err := OpenLog(LogConfig{Process: m.process, Dir: t.TempDir(), Stderr: new(bytes.Buffer)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.Register(m)
	}
	proxy.Histogram("semantic_request_duration_seconds", "", "How long requests take.", []float64{0.1, 1}).Update(0.2)
	proxy.CounterVec("semantic_request_total", "Requests.", 10, "method", "path").With("GET", "a\\b\"c\nd").Inc()
	proxy.FloatCounter("semantic_saved_seconds_total", "", "Time saved.").Add(1.5)
	own := exposition(t, proxy)
	if found := promtool(t, own); found != "" {
		t.Errorf("promtool finds in one process's exposition:\n%s", found)
	}
	var merged bytes.Buffer
	if err := Merge(&merged, []byte(own), []byte(exposition(t, sidecar))); err != nil {
		t.Fatal(err)
	}
	if found := promtool(t, merged.String()); found != "" {
		t.Errorf("promtool finds in the merged exposition:\n%s", found)
	}
	if found := promtool(t, own+own); found == "" {
		t.Error("promtool finds nothing in a doubled exposition: the test proves nothing")
	}
}

func TestDeclarationThatContradictsPanics(t *testing.T) {
	for name, declare := range map[string]func(*Metrics){
		"other help":  func(m *Metrics) { m.Counter("x_total", `a="2"`, "Another.") },
		"other type":  func(m *Metrics) { m.Gauge("x_total", `a="2"`, "One.") },
		"same series": func(m *Metrics) { m.Counter("x_total", `a="1"`, "One.") },
		"no help":     func(m *Metrics) { m.Counter("y_total", "", "") },
		"bad labels":  func(m *Metrics) { m.Counter("x_total", "a=1", "One.") },
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMetrics("proxy")
			m.Counter("x_total", `a="1"`, "One.")
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			declare(m)
		})
	}
}

func TestVecGrowsToItsLimitAndNoFurther(t *testing.T) {
	m := NewMetrics("proxy")
	v := m.CounterVec("semantic_request_total", "Requests.", 3, "method", "path")
	for i := range 1000 {
		v.With("GET", strconv.Itoa(i)).Inc()
		v.With("GET", "0").Inc()
	}
	want := `# HELP semantic_request_total Requests.
# TYPE semantic_request_total counter
semantic_request_total{method="GET",path="0"} 1001
semantic_request_total{method="GET",path="1"} 1
semantic_request_total{method="GET",path="2"} 1
semantic_request_total{method="other",path="other"} 997
`
	if got := familyText(exposition(t, m), "semantic_request_total"); got != want {
		t.Errorf("exposed\n%swant\n%s", got, want)
	}
}

func TestVecKeepsLabelsWhoseBufferIsUsedAgain(t *testing.T) {
	m := NewMetrics("proxy")
	v := m.CounterVec("semantic_request_total", "Requests.", 10, "path")
	buf := []byte("/v1/models")
	v.With(unsafe.String(&buf[0], len(buf))).Inc()
	copy(buf, "XXXXXXXXXX")
	v.With("/v1/models").Inc()
	if got := metricValue(t, m, `semantic_request_total{path="/v1/models"}`); got != 2 {
		t.Errorf("the series counts %v, want 2", got)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	m := NewMetrics("proxy")
	v := m.CounterVec("semantic_request_total", "Requests.", 10, "method", "path", "status_code")
	h := m.Histogram("semantic_request_duration_seconds", "", "Durations.", []float64{1, 2})
	v.With("GET", "/", "200").Inc()
	if n := testing.AllocsPerRun(1000, func() {
		v.With("GET", "/", "200").Inc()
		h.Update(1.5)
	}); n != 0 {
		t.Errorf("%v allocations a request, want none", n)
	}
}

func TestScrapeWhileSeriesComeToBe(t *testing.T) {
	m := NewMetrics("proxy")
	v := m.CounterVec("semantic_request_total", "Requests.", 10_000, "path")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				v.With(strconv.Itoa(i)).Inc()
				m.Counter("semantic_x_"+strconv.Itoa(g*1000+i)+"_total", "", "One of many.")
			}
		})
	}
	for range 50 {
		if found := strings.Count(exposition(t, m), "# TYPE semantic_request_total "); found > 1 {
			t.Fatalf("the family stands there %d times", found)
		}
	}
	wg.Wait()
	if got := metricValue(t, m, `semantic_request_total{path="199"}`); got != 4 {
		t.Errorf("the series counts %v, want 4", got)
	}
}

func TestProcessSeriesTellTheTruth(t *testing.T) {
	m := NewMetrics("engine")
	labels := `{process="engine"}`
	files := metricValue(t, m, "process_open_fds"+labels)
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if got := metricValue(t, m, "process_open_fds"+labels); got != files+1 {
		t.Errorf("%v open files after one was opened, before %v", got, files)
	}
	f.Close()
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		t.Fatalf(`cannot run ps (Debian package procps), run "make test-setup": %v`, err)
	}
	started, err := time.ParseInLocation("Mon Jan _2 15:04:05 2006", strings.TrimSpace(string(out)), time.Local)
	if err != nil {
		t.Fatal(err)
	}
	if got := metricValue(t, m, "process_start_time_seconds"+labels); math.Abs(got-float64(started.Unix())) > 2 {
		t.Errorf("start time %v, ps says %v", got, started.Unix())
	}
	if got := metricValue(t, m, "process_resident_memory_bytes"+labels); got < 1<<20 || got > 4<<30 {
		t.Errorf("resident memory of %v bytes", got)
	}
	before := metricValue(t, m, "process_cpu_seconds_total"+labels)
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
	}
	if got := metricValue(t, m, "process_cpu_seconds_total"+labels) - before; got < 0.01 {
		t.Errorf("60 ms of work took %v s of CPU", got)
	}
	if got := metricValue(t, m, "process_max_fds"+labels); got < 64 {
		t.Errorf("a limit of %v files", got)
	}
	if got := metricValue(t, m, "go_goroutines"+labels); got < 2 {
		t.Errorf("%v goroutines", got)
	}
}

func TestBuildNamesTheExecutable(t *testing.T) {
	sum, err := ExecutableSHA256()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(data)); sum != want {
		t.Errorf("hash %s, want %s", sum, want)
	}
	b := ReadBuild()
	if b.Version == "" || b.Commit == "" || b.Go != runtime.Version() {
		t.Errorf("build %+v", b)
	}
	series := fmt.Sprintf(`semantic_build_info{process="proxy",version="%s",commit="%s"}`, b.Version, b.Commit)
	if got := metricValue(t, NewMetrics("proxy"), series); got != 1 {
		t.Errorf("%s is %v", series, got)
	}
}

// TestAScrapeHoldsNobodyUp stops a scrape in its midst, where it would hold whatever
// it holds, and counts in every way that the request path does; and it scrapes while
// a declaration holds the one lock that there is.
func TestAScrapeHoldsNobodyUp(t *testing.T) {
	m := NewMetrics("proxy")
	counter, seconds := m.Counter("semantic_a_total", "", "Some."), m.FloatCounter("semantic_b_seconds_total", "", "Some.")
	histogram := m.Histogram("semantic_c_seconds", "", "Durations.", []float64{1, 2})
	vec := m.HistogramVec("semantic_d_seconds", "Durations.", []float64{1, 2}, 10, "path")
	inside, goOn := make(chan struct{}), make(chan struct{})
	m.GaugeFunc("semantic_e", "", "Stands in the middle.", func() float64 {
		inside <- struct{}{}
		<-goOn
		return 1
	})
	var scrapes sync.WaitGroup
	var first string
	scrapes.Go(func() { first = exposition(t, m) })
	<-inside
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		counter.Inc()
		seconds.Add(0.5)
		histogram.Update(1.5)
		histogram.Exemplar([]byte("4bf92f3577b34da6a3ce929d0e0e4736"), 1.5, time.Now())
		vec.With("/new").Update(1)
	}()
	select {
	case <-counted:
	case <-time.After(30 * time.Second):
		t.Fatal("a count waits for the scrape")
	}
	m.mu.Lock()
	goOn <- struct{}{}
	scrapes.Wait()
	m.mu.Unlock()
	if !strings.Contains(first, "semantic_e 1\n") {
		t.Errorf("the scrape that was stopped has\n%s", first)
	}
}
