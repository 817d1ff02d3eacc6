package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server is a real Prometheus or Alertmanager that a test starts and stops.
type server struct {
	t       testing.TB
	name    string // of the binary, which Debian's package of that name has
	args    []string
	url     string
	rules   string // folder of rules
	cmd     *exec.Cmd
	said    *lockedBuffer
	stopped bool
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lastPort is below the ports that the kernel hands out: a server that is killed and
// started again must not find its port with somebody's connection.
var lastPort atomic.Int32

func init() { lastPort.Store(20000 + rand.Int32N(8000)) }

// freeAddress is one on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1))
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Fatal("no TCP port is free")
	return ""
}

// newPrometheus makes one that is not started. Its rules are evaluated each second.
func newPrometheus(t testing.TB, args ...string) *server {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	config := write(t, dir, "prometheus.yml", fmt.Sprintf("global: {evaluation_interval: 1s}\nrule_files: ['%s/*.yml']\n", rules))
	return &server{
		t: t, name: "prometheus", url: "http://" + address, rules: rules,
		args: append([]string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=warn"}, args...),
	}
}

func newAlertmanager(t testing.TB) *server {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	config := write(t, dir, "alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
	return &server{
		t: t, name: "prometheus-alertmanager", url: "http://" + address,
		args: []string{"--config.file=" + config, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--cluster.listen-address="},
	}
}

// start returns when it is ready.
func (s *server) start() {
	s.t.Helper()
	s.said = new(lockedBuffer)
	s.cmd = exec.Command(s.name, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	if err := startChild(s.cmd); err != nil {
		s.t.Fatalf("%v (Debian package %s; make test-setup)", err, s.name)
	}
	s.stopped = false
	s.t.Cleanup(s.stop)
	within(s.t, time.Minute, s.name+" is ready", func() bool {
		resp, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *server) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if s.t.Failed() {
		s.t.Logf("%s said:\n%s", s.name, s.said)
	}
}

// hasRules says whether Prometheus has a rule of that name.
func (s *server) hasRule(name string) bool {
	resp, err := http.Get(s.url + "/api/v1/rules")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(body), fmt.Sprintf("%q:%q", "name", name))
}

// gauge reads one of the sidecar's own series.
func gauge(t testing.TB, s *Sidecar, series string) string {
	t.Helper()
	_, body := get(t, s, "/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	t.Fatalf("the sidecar has no series %s", series)
	return ""
}

// dutyOf reads what /health says of a duty.
func dutyOf(t testing.TB, s *Sidecar, name string) DutyState {
	t.Helper()
	_, body := get(t, s, "/health")
	var r report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	d, ok := r.Duties[name]
	if !ok {
		t.Fatalf("/health has no duty %s: %s", name, body)
	}
	return d
}

// rulesBecome waits until the rules are, or are not, proved to be in force.
func rulesBecome(t testing.TB, s *Sidecar, healthy bool, why string) {
	t.Helper()
	want := map[bool]string{true: "1", false: "0"}[healthy]
	defer func() {
		if t.Failed() {
			t.Logf("duty rules: %+v", dutyOf(t, s, "rules"))
		}
	}()
	within(t, time.Minute, why+": semantic_rules_healthy "+want, func() bool { return gauge(t, s, "semantic_rules_healthy") == want })
}

// dutySays waits until a duty's error has the text.
func dutySays(t testing.TB, s *Sidecar, duty, text string) {
	t.Helper()
	var last DutyState
	defer func() {
		if t.Failed() {
			t.Logf("duty %s: %+v", duty, last)
		}
	}()
	within(t, time.Minute, duty+" says "+text, func() bool {
		last = dutyOf(t, s, duty)
		return strings.Contains(last.Error, text)
	})
}
