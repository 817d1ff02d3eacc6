package alerts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What everybody who gets an alert relies on.
func TestEachAlertHasItsLabelsAndAnnotations(t *testing.T) {
	groups, err := Expand(Defaults(), testLinks)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.Rules {
			if seen[r.Name()] {
				t.Errorf("%s is there twice", r.Name())
			}
			seen[r.Name()] = true
			if r.Alert == "" {
				continue
			}
			if s := r.Labels["severity"]; s != Critical && s != Warning && s != Info {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			for _, l := range []string{"component", "team"} {
				if r.Labels[l] == "" {
					t.Errorf("%s has no label %s", r.Alert, l)
				}
			}
			for _, a := range []string{"summary", "description", "runbook_summary", "runbook_url", "dashboard_url"} {
				if r.Annotations[a] == "" {
					t.Errorf("%s has no annotation %s", r.Alert, a)
				}
			}
			if !strings.HasSuffix(r.Annotations["runbook_url"], "/runbooks/"+r.Alert) {
				t.Errorf("%s: runbook_url %q", r.Alert, r.Annotations["runbook_url"])
			}
		}
	}
	if len(seen) < 31 || !seen[Watchdog] {
		t.Errorf("only %d rules", len(seen))
	}
}

// Each parameter is used by a rule, and its default is one that it would take.
func TestParametersAreUsedAndTheirDefaultsGood(t *testing.T) {
	var text strings.Builder
	for _, name := range []string{"1-service", "2-objectives", "3-engine", "4-proxy", "5-sidecar"} {
		b, err := data.ReadFile("rules/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	for _, p := range Parameters() {
		if p.Name != "team" && !strings.Contains(text.String(), "${"+p.Name+"}") {
			t.Errorf("parameter %s is in no rule", p.Name)
		}
		if err := p.check(p.Default); err != nil {
			t.Error(err)
		}
		if p.Help == "" || !slices.Contains([]string{"ratio", "number", "duration", "labels", "pattern"}, p.Kind) {
			t.Errorf("parameter %+v", p)
		}
	}
}

func TestBadParametersAreRefusedByName(t *testing.T) {
	for word, want := range map[string]string{
		"pool_critical_ratio=1.5":    "pool_critical_ratio",
		"pool_critical_ratio=NaN":    "pool_critical_ratio",
		"slo_days=0":                 "slo_days",
		"window=5":                   "window",
		"service_labels=job) or (x":  "service_labels",
		`job=a"} or up{x="`:          "job",
		"pool_critical=0.9":          `"pool_critical"`,
		"pool_critical_ratio":        "NAME=VALUE",
		"queue_depth=many":           "queue_depth",
		"generation_paths=(unclosed": "generation_paths",
	} {
		if _, err := Defaults().WithWords([]string{word}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", word, err, want)
		}
	}
	if _, err := Defaults().WithWords([]string{"window=1m", "window=2m"}); err == nil {
		t.Error("a parameter that is set twice was taken")
	}
	if _, err := ParseFile([]byte("- window")); err == nil {
		t.Error("a list was taken for parameters")
	}
}

// Other values give other rules, which Prometheus reads in each form.
func TestRenderedFormsAreRead(t *testing.T) {
	v, err := Defaults().WithWords([]string{"pool_critical_ratio=0.77", "window=20s", "job=llm", "service_labels=cluster, job", "pool_critical_for=3s"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "rules.yml")
	renderTo(t, path, v, Prometheus)
	promtool(t, "check", "rules", path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`semantic_pool_utilization_ratio{job=~"llm"}) > 0.77`, "[20s]", "by (cluster, job)", "for: 3s"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the rules do not have %q", want)
		}
	}
	if left := regexp.MustCompile(`\$\{[^}]*\}`).FindString(string(text)); left != "" {
		t.Errorf("%s was not filled in", left)
	}

	// What the operator and vmalert read has the same groups, where they look for them.
	object := filepath.Join(dir, "object.yml")
	renderTo(t, object, v, PrometheusRule)
	var o struct {
		APIVersion, Kind string
		Spec             map[string]any
	}
	readYAML(t, object, &o)
	if o.Kind != "PrometheusRule" {
		t.Errorf("kind %q", o.Kind)
	}
	spec, err := yaml.Marshal(o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
	vm := filepath.Join(dir, "vm.yml")
	renderTo(t, vm, v, VMAlert)
	var f struct{ Groups []struct{ Name, Type string } }
	readYAML(t, vm, &f)
	if len(f.Groups) != len(loaded().groups) || f.Groups[0].Type != "prometheus" {
		t.Errorf("groups %+v", f.Groups)
	}
	if _, err := Render(nil, "nagios"); err == nil {
		t.Error("an unknown form was rendered")
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
