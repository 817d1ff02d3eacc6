package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The configurations that we ship are read by the tools, and route by severity.
func TestShippedMonitoringConfigurations(t *testing.T) {
	t.Parallel()
	am := filepath.Join(root, "deploy/alertmanager/alertmanager.yml")
	tool := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s %v: %v\n%s%s", name, args, err, out, &stderr)
		}
		return strings.TrimSpace(string(out))
	}
	tool("amtool", "check-config", am)
	tool("promtool", "check", "config", filepath.Join(root, "deploy/prometheus/prometheus.yml"))
	for labels, want := range map[string]string{
		"alertname=SemanticEngineDown severity=critical":   "page",
		"alertname=SemanticPoolHigh severity=warning":      "ticket",
		"alertname=SemanticNoActiveAgents severity=info":   "none",
		"alertname=Watchdog severity=info":                 "watchdog",
		"alertname=SemanticOfTheFuture severity=important": "ticket",
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + am}, strings.Fields(labels)...)
		if got := tool("amtool", args...); got != want {
			t.Errorf("%s goes to %q, not %q", labels, got, want)
		}
	}
}

// What follows from something else is not told beside it; what does not, is.
func TestShippedInhibitions(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	alert := func(name, severity, instance string) body {
		return body{"labels": body{"alertname": name, "severity": severity, "job": "semantic", "instance": instance, "component": "engine"}}
	}
	text, err := json.Marshal([]body{
		alert("SemanticTargetDown", "critical", "a"), alert("SemanticEngineDown", "critical", "a"), alert("SemanticPoolHigh", "warning", "a"), alert("Watchdog", "info", "a"),
		alert("SemanticPoolNearExhaustion", "critical", "b"), alert("SemanticPoolHigh", "warning", "b"), alert("SemanticEngineDown", "critical", "b"),
		alert("SemanticPoolHigh", "warning", "c"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := callWith(http.DefaultClient, http.MethodPost, m.alertmanager+"/api/v2/alerts", string(text)); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	quiet := map[string]bool{"SemanticEngineDown a": true, "SemanticPoolHigh a": true, "SemanticPoolHigh b": true}
	var wrong []string
	defer func() {
		if t.Failed() {
			t.Log(wrong)
		}
	}()
	await(t, "the inhibitions", func() bool {
		var list []struct {
			Labels map[string]string
			Status struct{ State string }
		}
		if err := json.Unmarshal([]byte(fetch(t, m.alertmanager+"/api/v2/alerts")), &list); err != nil {
			t.Fatal(err)
		}
		wrong = nil
		for _, a := range list {
			name := a.Labels["alertname"] + " " + a.Labels["instance"]
			if (a.Status.State == "suppressed") != quiet[name] {
				wrong = append(wrong, name+" is "+a.Status.State)
			}
		}
		return len(list) == 8 && len(wrong) == 0
	})
}
