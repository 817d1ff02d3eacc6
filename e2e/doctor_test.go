package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// diagnosis is what `semantic doctor --json` prints, by check.
type diagnosis map[string]struct{ Check, Verdict, Found, Do string }

// patient is a pod that the doctor looks at.
type patient struct {
	*pod
	m    *monitor
	args []string
}

func (p *patient) examine(t *testing.T, args ...string) (d diagnosis, status int) {
	t.Helper()
	run, err := run(p.dir, nil, append(append([]string{"doctor", "--json"}, p.args...), args...)...)
	if err != nil {
		t.Fatal(err)
	}
	status, err = run.status(patience)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Check, Verdict, Found, Do string }
	if err := json.Unmarshal([]byte(run.stdout.String()), &list); err != nil {
		t.Fatalf("%v\n%s%s", err, run.stdout, run.stderr)
	}
	d = diagnosis{}
	for _, f := range list {
		d[f.Check] = f
	}
	return d, status
}

// finds wants one check to fail, and to say what to do.
func (p *patient) finds(t *testing.T, check, found, do string, args ...string) {
	t.Helper()
	d, status := p.examine(t, args...)
	f := d[check]
	if status != 1 || f.Verdict != "failed" || !strings.Contains(f.Found, found) || !strings.Contains(f.Do, do) {
		t.Errorf("%s: status %d, %+v; it should find %q and say %q", check, status, f, found, do)
	}
}

// TestDoctor: a pod that is well is said to be, and each fault is found and comes with
// what to do. The volume of its logs is a small one, mounted where nobody else sees it.
func TestDoctor(t *testing.T) {
	if os.Getenv(inDrill) == "" {
		t.Parallel()
		inOwnMounts(t)
		return
	}
	m := newMonitor(t)
	p := &patient{pod: drilledPod(t, m), m: m}
	m.watch(t, p.pod)
	await(t, "the rules to be in force", func() bool {
		return strings.Contains(fetch(t, p.sidecar+"/metrics"), "\nsemantic_rules_healthy 1\n")
	})
	await(t, "the first scrapes", func() bool { return m.query(t, "up == 1") == 2 })
	collector, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	p.args = []string{
		"--data-dir", p.dir, "--max-connections", "10000", "--sidecar-listen", strings.TrimPrefix(p.sidecar, "http://"),
		"--rules-mode", "deliver", "--rules-dir", m.rules, "--prometheus-url", m.prometheus, "--alertmanager-url", m.alertmanager,
		"--alert-file", filepath.Join(p.dir, "alerts.yaml"), "--collector", "http://" + collector.Addr().String(),
	}
	d, status := p.examine(t, "--timeout", "30s")
	for check, f := range d {
		if f.Verdict != "ok" {
			t.Errorf("a pod that is well: %s: %+v", check, f)
		}
	}
	if status != 0 || len(d) != 12 {
		t.Errorf("status %d, %d checks", status, len(d))
	}
	p.findsFaultsOfTheHost(t)
	p.findsFaultsOutside(t)
	p.mustStop(t)
	p.finds(t, "proxy's socket", "is not there", "semantic serve")
}

func (p *patient) findsFaultsOfTheHost(t *testing.T) {
	t.Helper()
	p.finds(t, "engine's socket", "is not there", "--socket-dir", "--socket-dir", t.TempDir())

	engine := p.childPID("engine")
	signalPID(t, engine, syscall.SIGSTOP)
	p.finds(t, "engine's socket", "does not answer", "engine.log", "--timeout", "1s")
	signalPID(t, engine, syscall.SIGCONT)

	must(t, os.Chmod(p.socket("engine"), 0o666))
	p.finds(t, "permissions", "can be used by others", "chmod 600")
	must(t, os.Chmod(p.socket("engine"), 0o600))
	must(t, os.Chmod(p.dir, 0o777))
	p.finds(t, "permissions", "can be written by everybody", "chmod 700")
	must(t, os.Chmod(p.dir, 0o700))

	undo := fillDisk(t, p.logDir())
	p.finds(t, "disk", "--log-dir", "--log-max-bytes")
	undo()

	limit := unix.Rlimit{Cur: 1000, Max: 1000}
	must(t, unix.Prlimit(p.childPID("proxy"), unix.RLIMIT_NOFILE, &limit, nil))
	p.finds(t, "open files", "the proxy may open 1000 files", "LimitNOFILE")
}

func (p *patient) findsFaultsOutside(t *testing.T) {
	t.Helper()
	port, err := freePort()
	must(t, err)
	nobody := "http://" + address(port)
	p.finds(t, "Prometheus", "refused", "--prometheus-url", "--prometheus-url", nobody)
	p.finds(t, "Prometheus", "no target", "scrape jobs", "--alert-set", "job=others")
	p.finds(t, "alert rules", "in force", "PrometheusRule", "--alert-set", "error_ratio=0.21", "--timeout", "2s")
	p.finds(t, "Alertmanager", "refused", "--alertmanager-url", "--alertmanager-url", nobody)
	p.finds(t, "collector", "refused", "OTEL_EXPORTER_OTLP_ENDPOINT", "--collector", nobody)

	target, err := url.Parse(p.m.prometheus)
	must(t, err)
	late := httputil.NewSingleHostReverseProxy(target)
	late.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: late, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer server.Close()
	p.finds(t, "clock", "differs from Prometheus's by 1m", "synchronize", "--prometheus-url", "http://"+listener.Addr().String())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
