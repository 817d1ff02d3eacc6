package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// monitor starts Debian's Prometheus, which scrapes nothing, and its Alertmanager.
func monitor(t *testing.T) (prometheus, alertmanager, rules string) {
	t.Helper()
	dir := t.TempDir()
	rules = filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at, manager := freeAddress(t), freeAddress(t)
	run(t, "http://"+manager, "prometheus-alertmanager", "--config.file="+write("alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n"),
		"--storage.path="+filepath.Join(dir, "alertmanager"), "--web.listen-address="+manager, "--cluster.listen-address=")
	config := write("prometheus.yml", fmt.Sprintf("global: {evaluation_interval: 1s}\nrule_files: ['%s/*.yml']\nalerting: {alertmanagers: [{static_configs: [{targets: ['%s']}]}]}\n", rules, manager))
	run(t, "http://"+at, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--web.listen-address="+at, "--web.enable-lifecycle", "--log.level=warn", "--rules.alert.resend-delay=2s")
	return "http://" + at, "http://" + manager, rules
}

// run starts a program, which is of Debian's package of the same name, and waits until it is ready.
func run(t *testing.T, url, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, &said)
		}
	})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(url + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatalf("%s is not ready after %s", program, patience)
}

// TestAlertsAreThoseOfPrometheusAndAlertmanager has the pod deliver its rules to a real Prometheus.
// The page shows which fire, that Alertmanager has them, a silence of it, and that one of the two
// has gone; the name of an alert leads to its runbook.
func TestAlertsAreThoseOfPrometheusAndAlertmanager(t *testing.T) {
	prometheus, alertmanager, rules := monitor(t)
	p := startPod(t, "--rules-mode", "deliver", "--rules-dir", rules, "--prometheus-url", prometheus, "--alertmanager-url", alertmanager,
		"--rules-check-interval", "1s", "--alert-set", "target_down_for=1s")
	b := open(t, 1280, 900)
	b.do(t, chromedp.Navigate(p.link))
	b.await(t, "the page shows the pod", `document.querySelector("#state").textContent === "ready"`)
	b.show(t, "alerts")
	const cells = `[...[...document.querySelectorAll("tbody tr")].find(r => r.querySelector("th").textContent === %q).children].map(e => e.textContent)`
	state := func(alert, severity, inPrometheus, inAlertmanager string) {
		t.Helper()
		b.await(t, fmt.Sprintf("%s is %s and %s", alert, inPrometheus, inAlertmanager),
			fmt.Sprintf(`(c => c[1] === %q && c[2] === %q && c[3] === %q)(`+cells+`)`, severity, inPrometheus, inAlertmanager, alert))
	}
	// Nothing is scraped: the service is down as far as Prometheus knows, and the watchdog always fires.
	state("Watchdog", "info", "firing", "received")
	state("SemanticServiceDown", "critical", "firing", "received")
	state("SemanticPoolHigh", "warning", "inactive", "–")
	silence(t, alertmanager, "SemanticServiceDown")
	state("SemanticServiceDown", "critical", "firing", "silenced")
	state("Watchdog", "info", "firing", "received")
	b.holds(t)

	b.press(t, "the link to the runbook", `document.querySelector("tbody a[href='/runbooks/SemanticServiceDown']")`)
	b.await(t, "the runbook", `location.pathname === "/runbooks/SemanticServiceDown" && document.querySelector("h1").textContent.includes("SemanticServiceDown") && document.body.innerText.includes("It means")`)
	if faults := b.seen(); len(faults) > 0 {
		t.Errorf("errors in the runbook: %q", faults)
	}
	b.do(t, chromedp.KeyEvent(kb.Escape)) // the page takes keys
	b.do(t, chromedp.Navigate(p.screen+"/#alerts"))
	b.await(t, "Alertmanager answers", `document.querySelector("#view").innerText.includes("Alertmanager: answers")`)
}

// silence has Alertmanager silence an alert for an hour.
func silence(t *testing.T, alertmanager, alert string) {
	t.Helper()
	now := time.Now().UTC()
	body, err := json.Marshal(map[string]any{
		"matchers":  []map[string]any{{"name": "alertname", "value": alert, "isRegex": false, "isEqual": true}},
		"startsAt":  now.Format(time.RFC3339),
		"endsAt":    now.Add(time.Hour).Format(time.RFC3339),
		"createdBy": "test", "comment": "a silence of the test's",
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(alertmanager+"/api/v2/silences", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager answered %d to a silence", resp.StatusCode)
	}
}
