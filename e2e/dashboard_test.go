package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dashboard is what the tests read of deploy/grafana/semantic.json: all of it, so that
// a field that Grafana does not know is found.
type dashboard struct {
	Title, UID, Refresh, Timezone        string
	Tags                                 []string
	SchemaVersion, Version, GraphTooltip int
	Editable                             bool
	Time                                 struct{ From, To string }
	Annotations, Templating              struct{ List []map[string]any }
	Links                                []any
	Panels                               []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Collapsed                bool
	Panels                   []any
	GridPos                  struct{ H, W, X, Y int }
	Datasource               struct{ Type, UID string }
	FieldConfig              struct {
		Defaults  struct{ Unit string }
		Overrides []any
	}
	Options map[string]any
	Targets []struct {
		RefID, Expr, LegendFormat, Format string
		Instant                           bool
		Datasource                        struct{ Type, UID string }
	}
}

// quiet are the panels of things that this run does not cause. Their queries must
// work, and may say 0 or nothing.
var quiet = map[string]bool{
	"Failed": true, "KV pool in use": true, "In flight, running, queued": true, "Evictions": true,
	"Failures to persist, quarantined": true, "Refused": true, "Limit used": true, "Restarts of the engine": true, "Lost: log lines, spans, metrics": true,
}

// checkDashboard runs every query of the dashboard against a Prometheus that scrapes
// the pod, and wants a value above 0 from each that the run has moved.
func checkDashboard(t *testing.T, p *pod) {
	b, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "semantic.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		t.Fatalf("deploy/grafana/semantic.json: %v", err)
	}
	prometheus := startPrometheus(t, p)
	traffic := func() {
		p.mustGenerate(t, chat("Dashboards, please: "+strings.Repeat("one two three ", 12), 6), append(bearer(observerKey), "X-Agent-ID", "dashboard")...)
		anew := strconv.FormatInt(time.Now().UnixNano(), 10) // nothing of it is cached
		p.mustGenerate(t, body{"model": "default", "temperature": 0, "max_tokens": 3, "prompt": anew + " and so on"}, bearer(observerKey)...)
		p.call(http.MethodGet, "/v1/models", "", bearer("bad-"+strconv.FormatInt(time.Now().UnixNano(), 36))...)
	}
	queries, ids := 0, map[int]bool{}
	for _, panel := range d.Panels {
		if ids[panel.ID] {
			t.Errorf("panel %d is there twice", panel.ID)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "15s", "$job", ".+").Replace(target.Expr)
			highest := 0.0
			if !within(patience, func() bool {
				values := prometheus.query(t, expr)
				for _, v := range values {
					highest = max(highest, v)
				}
				if highest > 0 || quiet[panel.Title] || strings.Contains(target.Expr, "wasted") {
					return true
				}
				traffic()
				return false
			}) {
				t.Errorf("%s (%s): %s returns nothing above 0", panel.Title, target.RefID, expr)
			}
		}
	}
	if queries < 40 {
		t.Errorf("the dashboard has %d queries only", queries)
	}
	checkSums(t, p, prometheus, &d)
	if found := prometheus.exemplars(t); found == 0 {
		t.Error("Prometheus has stored no exemplar of a first token")
	}
}

// What a panel shows of one family alone: the rate of a counter, or a gauge.
var (
	sumOfRate  = regexp.MustCompile(`^sum\(rate\(([a-z_:]+)(\{job=~"\$job"\})\[\$__rate_interval\]\)\)$`)
	sumOfGauge = regexp.MustCompile(`^(?:sum|max|min)\(([a-z_:]+)(\{job=~"\$job"\})\)$`)
)

// checkSums wants exactly the pod's own numbers behind the panels, now that nothing
// moves them: of a rate those of its counter.
func checkSums(t *testing.T, p *pod, prometheus prometheusAt, d *dashboard) {
	t.Helper()
	exact := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			m := sumOfRate.FindStringSubmatch(target.Expr)
			if m == nil {
				m = sumOfGauge.FindStringSubmatch(target.Expr)
			}
			if m == nil {
				continue
			}
			exact++
			var got []float64
			var want float64
			if !within(patience, func() bool {
				got = prometheus.query(t, "sum("+m[1]+strings.Replace(m[2], "$job", "semantic", 1)+")")
				want = p.scrape(t).sum(m[1])
				return len(got) == 1 && math.Abs(got[0]-want) <= 1e-9*math.Abs(want)
			}) {
				t.Errorf("%s: Prometheus has %v for %s, the pod %v", panel.Title, got, m[1], want)
			}
		}
	}
	if exact < 12 {
		t.Errorf("%d queries were held against the pod's own numbers", exact)
	}
}

// prometheusAt is the address of a real Prometheus.
type prometheusAt string

func startPrometheus(t *testing.T, p *pod) prometheusAt {
	t.Helper()
	dir := shortDir(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: semantic\n  static_configs: [{targets: [%q]}]\n- job_name: semantic-sidecar\n  static_configs: [{targets: [%q]}]\n",
		strings.TrimPrefix(p.url, "http://"), strings.TrimPrefix(p.sidecar, "http://"))
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := runBinary("prometheus", dir, nil, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address(port), "--enable-feature=exemplar-storage", "--log.level=warn")
	if err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	t.Cleanup(func() { server.signal(syscall.SIGTERM); <-server.left })
	at := prometheusAt("http://" + address(port))
	await(t, "Prometheus to scrape proxy and sidecar", func() bool {
		r := callWith(http.DefaultClient, http.MethodGet, string(at)+"/api/v1/query?query=sum(up)", "")
		return r.status == http.StatusOK && len(at.query(t, "sum(up)")) == 1 && at.query(t, "sum(up)")[0] == 2
	})
	return at
}

// query returns the values of an instant query.
func (at prometheusAt) query(t *testing.T, expr string) []float64 {
	t.Helper()
	r := callWith(http.DefaultClient, http.MethodGet, string(at)+"/api/v1/query?query="+url.QueryEscape(expr), "")
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s %s", expr, err, answer.Error, r.body)
	}
	var values []float64
	for _, one := range answer.Data.Result {
		text, _ := one.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		if v == v { // a division by nothing says nothing
			values = append(values, v)
		}
	}
	return values
}

// exemplars counts those that Prometheus has of the first tokens.
func (at prometheusAt) exemplars(t *testing.T) int {
	t.Helper()
	r := callWith(http.DefaultClient, http.MethodGet, string(at)+"/api/v1/query_exemplars?query=semantic_time_to_first_token_seconds_bucket&start="+
		strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)+"&end="+strconv.FormatInt(time.Now().Unix()+60, 10), "")
	return strings.Count(r.body, `"trace_id"`)
}
