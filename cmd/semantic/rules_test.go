package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/supervise"
)

// rendered runs semantic rules render and returns what it prints.
func rendered(t *testing.T, args ...string) string {
	t.Helper()
	status, out, stderr := semantic(append([]string{"rules", "render"}, args...)...)
	if status != statusOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	return out
}

// Each form is what its reader takes: promtool for Prometheus's, and for the operator's,
// whose spec is that of a file; vmalert's strictly by the fields that it knows.
func TestRulesRenderInEachForm(t *testing.T) {
	settings := []string{"--alert-set", "pool_critical_ratio=0.77", "--external-url", "https://pod.example/", "--dashboard-url", "https://grafana.example/d/1"}
	plain := rendered(t, settings...)
	if plain != rendered(t, append(settings, "--format", "prometheus")...) {
		t.Error("prometheus is not the default form")
	}
	for _, want := range []string{"> 0.77", "https://pod.example/runbooks/Watchdog", "https://grafana.example/d/1"} {
		if !strings.Contains(plain, want) {
			t.Errorf("the rules do not have %q", want)
		}
	}
	promtoolChecks(t, plain)

	var object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name   string
			Labels map[string]string
		}
		Spec map[string]any
	}
	strictly(t, rendered(t, append(settings, "--format", "prometheusrule")...), &object)
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" || object.Metadata.Name == "" {
		t.Errorf("%s %s %q", object.APIVersion, object.Kind, object.Metadata.Name)
	}
	spec, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	promtoolChecks(t, string(spec))

	var vm struct { // the fields of vmalert's groups and rules that we use
		Groups []struct {
			Name, Type string
			Interval   string
			Rules      []struct {
				Alert, Record, Expr, For string
				Labels, Annotations      map[string]string
			}
		}
	}
	strictly(t, rendered(t, append(settings, "--format", "vmalert")...), &vm)
	seen := 0
	for _, g := range vm.Groups {
		if g.Type != "prometheus" {
			t.Errorf("group %s is of type %q", g.Name, g.Type)
		}
		for _, r := range g.Rules {
			if r.Alert != "" {
				seen++
			}
		}
	}
	if seen != len(alerts.Names()) {
		t.Errorf("%d alerts of %d", seen, len(alerts.Names()))
	}
}

func strictly(t *testing.T, text string, into any) {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%v\n%.300s", err, text)
	}
}

func promtoolChecks(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool (Debian package prometheus; make test-setup): %v\n%s", err, out)
	}
}

func TestRulesCommandsSayWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "semantic.yaml")
	if err := os.WriteFile(file, []byte("alert-set: pool_critical_ratio=0.66\nport: 9000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rendered(t, "--config", file), "> 0.66") {
		t.Error("the file of settings is not read")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"render", "--format", "nagios"}, "--format"},
		{[]string{"render", "--alert-set", "pool_critical_ratio=7"}, "pool_critical_ratio"},
		{[]string{"render", "--alert-file", "/nonexistent"}, "--alert-file"},
		{[]string{"parameters", "--alert-set", "nothing=1"}, "nothing"},
	} {
		if status, out, stderr := semantic(append([]string{"rules"}, c.args...)...); status != statusUsage || !strings.Contains(stderr, c.want) || out != "" {
			t.Errorf("%v: status %d, %q, want one that names %s", c.args, status, stderr, c.want)
		}
	}
	if status, _, stderr := semantic("rules", "check", "--prometheus-url", "http://127.0.0.1:1"); status != statusFailure || !strings.Contains(stderr, "refused") {
		t.Errorf("status %d, %q", status, stderr)
	}
	if status, out, _ := semantic("rules", "check"); status != statusOK || !strings.Contains(out, "not held against a Prometheus") {
		t.Errorf("status %d, %q", status, out)
	}
	if status, out, _ := semantic("rules", "parameters", "--alert-set", "pool_critical_ratio=0.5"); status != statusOK || !strings.Contains(out, "pool_critical_ratio") {
		t.Errorf("status %d, %q", status, out)
	}
}

// What the sidecar reads again is not given to it as it was, and all else is.
func TestServeLeavesToTheFileWhatIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "semantic.yaml")
	if err := os.WriteFile(file, []byte("alert-set: pool_critical_ratio=0.66\nlog-keep: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var cmds commands
	exited := -1
	parsed, err := parse(&cmds, []string{"serve", "--config", file, "--external-url", "http://pod.example"}, new(bytes.Buffer), new(bytes.Buffer), &exited)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := cmds.Serve.children(&world{parsed: parsed})
	if err != nil {
		t.Fatal(err)
	}
	env := specs[slices.IndexFunc(specs, func(s supervise.Spec) bool { return s.Name == "sidecar" })].Env
	for name, want := range map[string]bool{
		"SEMANTIC_ALERT_SET=pool_critical_ratio=0.66": false, "SEMANTIC_LOG_KEEP=7": true,
		"SEMANTIC_EXTERNAL_URL=http://pod.example": true, "SEMANTIC_ALERT_CONFIG=" + file: true,
	} {
		if slices.Contains(env, name) != want {
			t.Errorf("%s in the sidecar's environment: %v", name, !want)
		}
	}
}

// TestRulesOfAPodThatIsNotThere fails instead of showing those of the settings.
func TestRulesOfAPodThatIsNotThere(t *testing.T) {
	for _, verb := range []string{"render", "check"} {
		status, out, stderr := semantic("rules", verb, "--socket", filepath.Join(t.TempDir(), "sidecar.sock"))
		if status != statusFailure || out != "" || !strings.Contains(stderr, "cannot have the pod's rules") {
			t.Errorf("%s: status %d\n%s%s", verb, status, out, stderr)
		}
	}
}
