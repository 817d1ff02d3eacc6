package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// alone is a pod whose processes the test starts itself, one by one.
type alone struct {
	*pod
	shared, proxyArgs []string
}

func newAlone(t *testing.T) *alone {
	t.Helper()
	dir := shortDir(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{dir: dir, port: port, url: "http://" + address(port), client: &http.Client{
		Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	shared := []string{"--data-dir", dir}
	return &alone{p, shared, append([]string{"proxy", "--port", strconv.Itoa(port)}, shared...)}
}

func (a *alone) engine(t *testing.T) *process {
	return startProcess(t, a.dir, append([]string{"engine", "--model", model, "--kv-memory", "256MiB", "--persist-timeout", "1s", "--stop-timeout", "4s"}, a.shared...)...)
}

// wants holds a health route to a status and the start of a body.
func (a *alone) wants(t *testing.T, route string, status int, body string) {
	t.Helper()
	r := a.health(route)
	if r.status != status || !strings.HasPrefix(r.body, body) || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("/health/%s: %d %s (%v), want %d %s", route, r.status, r.body, r.err, status, body)
	}
}

const (
	isAlive     = `{"status":"alive"}`
	isStarted   = `{"status":"started"}`
	isReady     = `{"status":"ready","pool_utilization":`
	unreachable = `"reason":"engine_unreachable"`
)

// TestProcessesOfAPodStartAndStopAlone walks the health routes through the life of
// a proxy, whose engine comes late, goes and comes again.
func TestProcessesOfAPodStartAndStopAlone(t *testing.T) {
	t.Parallel()
	a := newAlone(t)
	proxy := startProcess(t, a.dir, append(a.proxyArgs, "--drain-delay", "1s")...)
	await(t, "the proxy to listen", func() bool { return a.health("live").status == http.StatusOK })
	a.wants(t, "live", 200, isAlive)
	a.wants(t, "startup", 503, `{"status":"starting",`+unreachable+`}`)
	a.wants(t, "ready", 503, `{"status":"not_ready",`+unreachable+`,"pool_utilization":0.0}`)
	r := a.call(http.MethodPost, chatPath, chat("Hi.", 1).String())
	if r.status != 503 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, `"code":"engine_unreachable"`) {
		t.Errorf("a chat without an engine: %d %v %s", r.status, r.header, r.body)
	}
	if s := a.scrape(t); s.of(t, "semantic_engine_up") != 0 || s.of(t, finishes(api.FinishShed)) != 1 {
		t.Errorf("without an engine: up %v, shed %v", s["semantic_engine_up"], s[finishes(api.FinishShed)])
	}

	engine := a.engine(t)
	await(t, "the proxy to see the engine ready", func() bool {
		r := a.health("ready")
		if r.status != 200 && !strings.Contains(r.body, unreachable) && !strings.Contains(r.body, `"reason":"model_loading"`) {
			t.Errorf("while the engine starts: %d %s", r.status, r.body)
		}
		return r.status == 200
	})
	a.wants(t, "ready", 200, isReady)
	a.wants(t, "startup", 200, isStarted)
	if g := a.mustGenerate(t, chat(italy, 20)); !strings.Contains(g.text, "Rome") {
		t.Errorf("got %+v", g)
	}
	probe(t, a.pod, "engine", api.PathState, `"phase":"ready"`)
	probe(t, a.pod, "proxy", api.PathState, `"ready":true`)

	engine.stopped(t)
	await(t, "the proxy to miss the engine", func() bool { return strings.Contains(a.health("ready").body, unreachable) })
	a.wants(t, "ready", 503, `{"status":"not_ready",`+unreachable)
	a.wants(t, "live", 200, isAlive)
	a.wants(t, "startup", 200, isStarted) // it did start once
	a.engine(t)
	await(t, "the proxy to see the engine again", func() bool { return a.health("ready").status == 200 })

	proxy.signal(syscall.SIGTERM)
	await(t, "readiness to turn", func() bool { return a.health("ready").status == 503 })
	a.wants(t, "ready", 503, `{"status":"not_ready","reason":"shutting_down"`)
	a.wants(t, "live", 200, isAlive)
	if r := a.call(http.MethodPost, chatPath, chat("Hi.", 1).String()); r.status != 200 {
		t.Errorf("a chat that a load balancer sent after readiness turned: %d %s", r.status, r.body)
	}
	if status, err := proxy.status(patience); err != nil || status != 0 {
		t.Errorf("the proxy ended with %d, %v", status, err)
	}
}

// probe asks as an exec probe of a container does.
func probe(t *testing.T, p *pod, process, path, want string) {
	t.Helper()
	out, err := exec.Command(semantic, "probe", "--socket", p.socket(process), path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("probe %s %s: %v %s", process, path, err, out)
	}
}

func TestProbeOfADeadProcessFails(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(semantic, "probe", "--socket", filepath.Join(t.TempDir(), "engine.sock"), api.PathState).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "engine.sock") {
		t.Errorf("got %v: %s", err, out)
	}
}

func TestSidecarStartsAndStopsAlone(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := startProcess(t, dir, "sidecar", "--data-dir", dir, "--sidecar-listen", address(port))
	ask := func(route string) reply {
		return callWith(http.DefaultClient, http.MethodGet, "http://"+address(port)+route, "")
	}
	await(t, "the sidecar to be ready", func() bool { return ask("/health/ready").status == 200 })
	for route, want := range map[string]string{
		"/health/live": isAlive, "/health/startup": isStarted, "/health/ready": `{"status":"ready"`, "/health": `"status":"ok"`,
	} {
		if r := ask(route); r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", route, r.status, r.body)
		}
	}
	if v := parseMetrics(t, exposition(t, "http://"+address(port))).of(t, "semantic_log_rotations_total"); v != 0 {
		t.Errorf("semantic_log_rotations_total is %v at the start", v)
	}
	s.stopped(t)
}

func TestFoldersAndSocketsAreTheUsersAlone(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for path, want := range map[string]os.FileMode{
		filepath.Join(p.dir, "logs"): 0o700, filepath.Join(p.dir, "run"): 0o700,
		p.socket("engine"): 0o600, p.socket("proxy"): 0o600, p.socket("sidecar"): 0o600,
		p.log("proxy"): 0o600, p.log("engine"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// TestProbesAreQuickWhileTheEngineIsBusy asks while the batch is full of work.
func TestProbesAreQuickWhileTheEngineIsBusy(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	for range 8 {
		p.mustStream(t, counting(4000))
	}
	var worst time.Duration
	for range 50 {
		began := time.Now()
		if r := p.health("ready"); r.status != 200 {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
		worst = max(worst, time.Since(began))
	}
	if worst > time.Second {
		t.Errorf("a probe took %s", worst)
	}
}
