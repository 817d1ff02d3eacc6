package sidecar

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
)

func deliverTo(t testing.TB, p *server) Config {
	cfg := testConfig(t.TempDir())
	cfg.Rules = RulesConfig{Mode: rulesDeliver, Dir: p.rules, Prometheus: p.url, CheckInterval: 200 * time.Millisecond, DashboardURL: "http://grafana/d/x"}
	return cfg
}

// Whoever starts first waits for nobody: the sidecar is ready without Prometheus, and
// delivers when it comes. Prometheus says that it has the rules and evaluates them.
func TestRulesAreDeliveredAndReadBack(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	s := startTest(t, deliverTo(t, p))
	eventually(t, "ready without Prometheus", func() bool { status, _ := get(t, s, "/health/ready"); return status == 200 })
	dutySays(t, s, "rules", "connection refused")
	if got := gauge(t, s, "semantic_rules_healthy"); got != "0" {
		t.Errorf("semantic_rules_healthy %s without Prometheus", got)
	}
	if _, err := os.Stat(filepath.Join(p.rules, ruleFileName)); err == nil {
		t.Error("rules were written that Prometheus has not parsed")
	}
	p.start()
	rulesBecome(t, s, true, "Prometheus came")
	if !p.hasRule(alerts.Watchdog) {
		t.Error("Prometheus has no Watchdog")
	}
	if d := dutyOf(t, s, "rules"); d.Never || d.Error != "" || !d.OK {
		t.Errorf("duty %+v", d)
	}
	cfg := deliverTo(t, p)
	groups, err := cfg.Rules.Groups("")
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, g := range groups {
		rules += len(g.Rules)
	}
	if got := gauge(t, s, "semantic_rules_delivered"); got != strconv.Itoa(rules) {
		t.Errorf("semantic_rules_delivered %s of %d", got, rules)
	}

	// Somebody edits, then removes the file: it is put right.
	path := filepath.Join(p.rules, ruleFileName)
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(path, []byte("groups: []\n"), 0o644) },
		func() error { return os.Remove(path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the file is put right", func() bool { got, _ := os.ReadFile(path); return string(got) == string(ours) })
	}
	rulesBecome(t, s, true, "the file was put right")

	// Prometheus dies and comes back.
	p.stop()
	rulesBecome(t, s, false, "Prometheus died")
	p.start()
	rulesBecome(t, s, true, "Prometheus came back")
}

// A file that Prometheus refuses must not stay: a restart would end there.
func TestWhatWasThereIsPutBackWhenPrometheusRefuses(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	const before = "groups: [{name: old, rules: [{record: old_rule, expr: vector(1)}]}]\n"
	path := write(t, p.rules, ruleFileName, before)
	p.start()
	other := write(t, p.rules, "broken.yml", "groups: [{name: broken, rules: [{alert: X, expr: '('}]}]\n") // makes every reload fail
	s := startTest(t, deliverTo(t, p))
	dutySays(t, s, "rules", "failed to reload config")
	dutySays(t, s, "rules", "put back")
	if got := gauge(t, s, "semantic_rules_healthy"); got != "0" {
		t.Errorf("semantic_rules_healthy %s", got)
	}
	eventually(t, "the file from before is back", func() bool { got, _ := os.ReadFile(path); return string(got) == before })
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	rulesBecome(t, s, true, "the broken file went")
	if p.hasRule("old_rule") {
		t.Error("the old rule is still loaded")
	}
}

func TestReloadThatIsOffIsNamed(t *testing.T) {
	p := newPrometheus(t)
	p.start()
	s := startTest(t, deliverTo(t, p))
	dutySays(t, s, "rules", "--web.enable-lifecycle")
	eventually(t, "nothing is left in the folder", func() bool {
		_, err := os.Stat(filepath.Join(p.rules, ruleFileName))
		return os.IsNotExist(err)
	})
}

// A sidecar that was killed between writing and being accepted leaves a file that
// nobody proved. The next one puts back what was there, whatever it delivers itself.
func TestUnprovedFileOfACrashIsPutBack(t *testing.T) {
	for name, before := range map[string]string{"there was one": "groups: []\n", "there was none": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, dir, ruleFileName, "groups: [{name: broken")
			write(t, dir, ruleFileBefore, before)
			f := newRuleFile(dir)
			if err := f.hold(); err != nil {
				t.Fatal(err)
			}
			defer f.release()
			got, err := os.ReadFile(path)
			if string(got) != before || (before == "") != os.IsNotExist(err) {
				t.Errorf("the file has %q, %v", got, err)
			}
			if _, err := os.Stat(filepath.Join(dir, ruleFileBefore)); !os.IsNotExist(err) {
				t.Errorf("what was there before lies about: %v", err)
			}
		})
	}
}

// Parameters are read again; bad ones leave the rules as they were.
func TestRulesFollowTheirParameters(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	p.start()
	cfg := deliverTo(t, p)
	cfg.Rules.File = write(t, t.TempDir(), "alerts.yaml", "pool_critical_ratio: 0.91\n")
	s := startTest(t, cfg)
	rulesBecome(t, s, true, "first delivery")
	path := filepath.Join(p.rules, ruleFileName)
	delivered := func() string { text, _ := os.ReadFile(path); return string(text) }
	if !strings.Contains(delivered(), "> 0.91") {
		t.Error("the parameter is not in the rules")
	}
	write(t, filepath.Dir(cfg.Rules.File), "alerts.yaml", "pool_critical_ratio: 0.97\n")
	eventually(t, "the new parameter is delivered", func() bool { return strings.Contains(delivered(), "> 0.97") })
	rulesBecome(t, s, true, "new parameter")
	write(t, filepath.Dir(cfg.Rules.File), "alerts.yaml", "pool_critical_ratio: 97\n")
	dutySays(t, s, "rules", "pool_critical_ratio")
	if !strings.Contains(delivered(), "> 0.97") || !p.hasRule(alerts.Watchdog) {
		t.Error("bad parameters took the rules away")
	}
}

// The file of settings is followed too, but for what a flag or a variable gave; what is
// bad in it leaves the rules as they were.
func TestRulesFollowTheFileOfSettings(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	p.start()
	cfg := deliverTo(t, p)
	dir := t.TempDir()
	cfg.Rules.Follow = write(t, dir, "semantic.yaml", "port: 9000\nalert-set: pool_critical_ratio=0.91,window=2m\n")
	cfg.Rules.Fixed = []string{"dashboard-url"}
	s := startTest(t, cfg)
	rulesBecome(t, s, true, "first delivery")
	path := filepath.Join(p.rules, ruleFileName)
	delivered := func() string { text, _ := os.ReadFile(path); return string(text) }
	if text := delivered(); !strings.Contains(text, "> 0.91") || !strings.Contains(text, "[2m]") {
		t.Error("the parameters are not in the rules")
	}
	write(t, dir, "semantic.yaml", "alert-set: [pool_critical_ratio=0.97]\nexternal-url: http://pod.example\ndashboard-url: http://other.example\n")
	eventually(t, "the new parameter is delivered", func() bool { return strings.Contains(delivered(), "> 0.97") })
	if text := delivered(); !strings.Contains(text, "http://pod.example/runbooks/") || !strings.Contains(text, "http://grafana/d/x") || strings.Contains(text, "other.example") {
		t.Error("the addresses are not those of file and flag")
	}
	for text, want := range map[string]string{
		"alert-set: pool_critical_ratio=97\n": "pool_critical_ratio", "alert-set: {a: b}\n": "semantic.yaml", "external-url: pod\n": "external-url",
	} {
		write(t, dir, "semantic.yaml", text)
		dutySays(t, s, "rules", want)
	}
	if !strings.Contains(delivered(), "> 0.97") || !p.hasRule(alerts.Watchdog) {
		t.Error("a bad file took the rules away")
	}
}

func TestOneSidecarAtATimeDelivers(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	p.start()
	first := startTest(t, deliverTo(t, p))
	rulesBecome(t, first, true, "the first")
	cfg := deliverTo(t, p)
	cfg.Rules.Set = []string{"pool_critical_ratio=0.55"}
	second := startTest(t, cfg)
	dutySays(t, second, "rules", "another sidecar looks after it")
	stop(t, first)
	rulesBecome(t, second, true, "the second took over")
	if !strings.Contains(read(t, filepath.Join(p.rules, ruleFileName)), "0.55") {
		t.Error("the rules are not those of the second")
	}
}

// Where others deliver, the sidecar only says whether the rules are in force.
func TestRulesOfOthersAreVerified(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	p.start()
	cfg := deliverTo(t, p)
	cfg.Rules.Mode, cfg.Rules.Dir = rulesVerify, ""
	cfg.Rules.ExternalURL = "http://sidecar.example"
	s := startTest(t, cfg)
	dutySays(t, s, "rules", "group semantic-service is not loaded")
	groups, err := cfg.Rules.Groups("")
	if err != nil {
		t.Fatal(err)
	}
	load := func(groups []alerts.Group) {
		t.Helper()
		text, err := alerts.Render(groups, alerts.Prometheus)
		if err != nil {
			t.Fatal(err)
		}
		write(t, p.rules, "by-the-operator.yml", string(text))
		if err := s.rules.client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	load(groups)
	rulesBecome(t, s, true, "somebody loaded them")

	rule := &groups[2].Rules[0]
	good := *rule
	for what, spoil := range map[string]func(){
		"another expression is loaded": func() { rule.Expr = strings.Replace(rule.Expr, "== 0", "== 3", 1) },
		"it is loaded with for":        func() { rule.For = "9m" },
		"other annotations":            func() { rule.Annotations = map[string]string{"summary": "x"} },
		"is in its place":              func() { rule.Alert = "Other" },
		"with the labels":              func() { rule.Labels = map[string]string{"severity": "none"} },
	} {
		spoil()
		load(groups)
		dutySays(t, s, "rules", what)
		*rule = good
	}
	load(groups)
	rulesBecome(t, s, true, "they were put right")
	if entries, err := os.ReadDir(p.rules); err != nil || len(entries) != 1 {
		t.Errorf("the sidecar wrote into the folder: %v, %v", entries, err)
	}
}

// A rule that loads and fails at each evaluation is not in force: a 200 is not health.
func TestRuleThatCannotBeEvaluatedIsNotHealthy(t *testing.T) {
	p := newPrometheus(t, "--web.enable-lifecycle")
	p.start()
	const twice = `label_replace(vector(1) or label_replace(vector(1), "a", "x", "", ""), "a", "y", "", "")`
	groups := []alerts.Group{{Name: "g", Rules: []alerts.Rule{{Record: "semantic:twice", Expr: twice}}}}
	text, err := alerts.Render(groups, alerts.Prometheus)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.rules, "g.yml", string(text))
	client := prometheus.New(p.url)
	defer client.Close()
	if err := client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "Prometheus says that it cannot evaluate the rule", func() bool {
		_, err := client.Check(t.Context(), groups, "g.yml", time.Time{})
		return err != nil && strings.Contains(err.Error(), "cannot be evaluated: vector cannot contain metrics with the same labelset")
	})
	if _, err := client.Canonical(t.Context(), "sum by ("); err == nil || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("a bad expression: %v", err)
	}
}
