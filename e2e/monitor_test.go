package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// monitor is Prometheus and Alertmanager with the configurations that we ship, made
// quick, and a receiver of the test's own.
type monitor struct {
	rules         string // folder of rules
	prometheus    string // address
	alertmanager  string
	configuration string
	received      *receiver
	processes     []*process
}

// receiver takes what Alertmanager sends, by the receiver's path.
type receiver struct {
	server *httptest.Server
	mu     sync.Mutex
	got    []notice
}

// notice is one alert as it came.
type notice struct {
	To          string // page, ticket or watchdog
	Status      string
	Labels      map[string]string
	Annotations map[string]string
	At          time.Time
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var message struct{ Alerts []notice }
		if err := json.NewDecoder(q.Body).Decode(&message); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range message.Alerts {
			n.To, n.At = strings.TrimPrefix(q.URL.Path, "/"), time.Now()
			r.got = append(r.got, n)
		}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// last returns the newest notice of an alert after a time, if there is one.
func (r *receiver) last(alert, status string, after time.Time) (notice, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.got) - 1; i >= 0; i-- {
		if n := r.got[i]; n.Labels["alertname"] == alert && n.Status == status && n.At.After(after) {
			return n, true
		}
	}
	return notice{}, false
}

// newMonitor starts Alertmanager; Prometheus is started for a pod.
func newMonitor(t *testing.T) *monitor {
	t.Helper()
	dir := t.TempDir()
	m := &monitor{rules: filepath.Join(dir, "rules"), configuration: dir, received: newReceiver(t)}
	for _, at := range []*string{&m.prometheus, &m.alertmanager} {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		*at = "http://" + address(port)
	}
	if err := os.Mkdir(m.rules, 0o755); err != nil {
		t.Fatal(err)
	}
	waits := regexp.MustCompile(`(group_wait|group_interval|repeat_interval): \S+`)
	path := m.shipped(t, "alertmanager/alertmanager.yml", func(text string) string {
		text = strings.ReplaceAll(text, "http://127.0.0.1:9095", m.received.server.URL)
		return waits.ReplaceAllString(text, "$1: 1s")
	})
	m.start(t, "prometheus-alertmanager", m.alertmanager, "--config.file="+path, "--storage.path="+filepath.Join(dir, "alertmanager"),
		"--web.listen-address="+strings.TrimPrefix(m.alertmanager, "http://"), "--cluster.listen-address=")
	return m
}

// shipped makes a copy of a configuration in deploy/ with changes.
func (m *monitor) shipped(t *testing.T, name string, change func(string) string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.configuration, filepath.Base(name))
	if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// watch starts Prometheus on a pod.
func (m *monitor) watch(t *testing.T, p *pod) {
	t.Helper()
	path := m.shipped(t, "prometheus/prometheus.yml", func(text string) string {
		return strings.NewReplacer("15s", "1s", "/etc/prometheus/rules", m.rules, "127.0.0.1:9093", strings.TrimPrefix(m.alertmanager, "http://"),
			"127.0.0.1:8000", strings.TrimPrefix(p.url, "http://"), "127.0.0.1:8002", strings.TrimPrefix(p.sidecar, "http://")).Replace(text)
	})
	m.start(t, "prometheus", m.prometheus, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(m.configuration, "prometheus"),
		"--web.listen-address="+strings.TrimPrefix(m.prometheus, "http://"), "--web.enable-lifecycle", "--log.level=warn",
		"--rules.alert.resend-delay=2s") // what fires before it has found Alertmanager comes again
}

func (m *monitor) start(t *testing.T, binary, address string, args ...string) {
	t.Helper()
	p, err := runBinary(binary, m.configuration, nil, args...)
	if err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", binary, tail(p.stderr.String(), 3000))
		}
	})
	m.processes = append(m.processes, p)
	await(t, binary+" to be ready", func() bool {
		resp, err := http.Get(address + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// query returns how many series a query gives.
func (m *monitor) query(t *testing.T, expr string) int {
	t.Helper()
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	text := fetch(t, m.prometheus+"/api/v1/query?query="+url.QueryEscape(expr))
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	return len(answer.Data.Result)
}

// drill makes a cause, and holds an alert to its whole way: pending, firing, to the
// receiver of its severity with a runbook that opens, and resolved when the cause is
// gone.
func (m *monitor) drill(t *testing.T, alert, to string, pending bool, labels map[string]string, cause func() (undo func())) {
	t.Helper()
	began := time.Now()
	undo := cause()
	var n notice
	await(t, alert+" at the receiver", func() (there bool) { n, there = m.received.last(alert, "firing", began); return })
	fired := time.Since(began)
	if pending && m.query(t, fmt.Sprintf(`count_over_time(ALERTS{alertname=%q,alertstate="pending"}[2m])`, alert)) == 0 {
		t.Errorf("%s was never pending", alert)
	}
	if n.To != to || n.Labels["severity"] == "" || n.Labels["team"] == "" || n.Annotations["description"] == "" {
		t.Errorf("%s came to %s: %+v", alert, n.To, n)
	}
	for k, v := range labels {
		if n.Labels[k] != v {
			t.Errorf("%s: label %s is %q, not %q", alert, k, n.Labels[k], v)
		}
	}
	if page := fetch(t, n.Annotations["runbook_url"]); !strings.Contains(page, "<h1>"+alert+"</h1>") {
		t.Errorf("%s: %s is not its runbook", alert, n.Annotations["runbook_url"])
	}
	gone := time.Now()
	undo()
	await(t, alert+" to resolve", func() (there bool) { _, there = m.received.last(alert, "resolved", began); return })
	t.Logf("%s: at the receiver %s after its cause, resolved %s after that was gone", alert, fired.Round(100*time.Millisecond), time.Since(gone).Round(100*time.Millisecond))
}
