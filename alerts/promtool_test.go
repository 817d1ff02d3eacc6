package alerts

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

var testLinks = Links{Runbooks: "http://sidecar:8002/runbooks/", Dashboard: "http://grafana/d/semantic"}

// testCase is one of testdata/cases.yaml.
type testCase struct {
	Alert  string            `yaml:"alert"`
	Series map[string]string `yaml:"series"`
	Quiet  []string          `yaml:"quiet"`
	Fires  struct {
		At          string            `yaml:"at"`
		Labels      map[string]string `yaml:"labels"`
		Summary     string            `yaml:"summary"`
		Description string            `yaml:"description"`
	} `yaml:"fires"`
}

func readCases(t *testing.T) []testCase {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("promtool", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool (Debian package prometheus; make test-setup): %v\n%s", err, out)
	}
}

func renderTo(t *testing.T, path string, v Values, format Format) []Group {
	t.Helper()
	groups, err := Expand(v, testLinks)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Render(groups, format)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return groups
}

// Each alert fires at the right minute, not for what is just below its threshold,
// and not when the cause is gone, by Prometheus's own evaluation.
func TestEachAlertFiresAndResolvesAtItsMinute(t *testing.T) {
	dir := t.TempDir()
	groups := renderTo(t, filepath.Join(dir, "rules.yml"), Defaults(), Prometheus)
	rules := map[string]Rule{}
	for _, g := range groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				rules[r.Alert] = r
			}
		}
	}
	type m = map[string]any
	var tests []m
	tested := map[string]bool{}
	for _, c := range readCases(t) {
		rule, ok := rules[c.Alert]
		if !ok {
			t.Fatalf("there is no alert %s", c.Alert)
		}
		tested[c.Alert] = true
		var series []m
		for _, s := range slices.Sorted(maps.Keys(c.Series)) {
			series = append(series, m{"series": s, "values": c.Series[s]})
		}
		labels, annotations := maps.Clone(rule.Labels), maps.Clone(rule.Annotations)
		maps.Copy(labels, c.Fires.Labels)
		annotations["summary"], annotations["description"] = c.Fires.Summary, c.Fires.Description
		expect := []m{{"alertname": c.Alert, "eval_time": c.Fires.At, "exp_alerts": []m{{"exp_labels": labels, "exp_annotations": annotations}}}}
		for _, at := range c.Quiet {
			expect = append(expect, m{"alertname": c.Alert, "eval_time": at})
		}
		if len(c.Quiet) < 2 && c.Alert != Watchdog {
			t.Errorf("%s: say the minute before it fires and the one at which it has resolved", c.Alert)
		}
		tests = append(tests, m{"name": c.Alert, "interval": "1m", "input_series": series, "alert_rule_test": expect})
	}
	for name := range rules {
		if !tested[name] {
			t.Errorf("alert %s has no case in testdata/cases.yaml", name)
		}
	}
	text, err := yaml.Marshal(m{"rule_files": []string{"rules.yml"}, "evaluation_interval": "1m", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tests.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "rules.yml"))
	promtool(t, "test", "rules", path)
}
