package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/semantic-pod/semantic/unixsock"
)

func TestHealthAnswersOnceTheLogsWereLookedAt(t *testing.T) {
	s := startTest(t, testConfig(t.TempDir()))
	eventually(t, "ready", func() bool {
		status, _ := get(t, s, "/health/ready")
		return status == 200
	})
	for path, want := range map[string]string{
		"/health/live":    `{"status":"alive"}`,
		"/health/startup": `{"status":"started"}`,
		"/health/ready":   `{"status":"ready"}`,
	} {
		if status, body := get(t, s, path); status != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s, want 200 %s", path, status, body, want)
		}
	}
	status, body := get(t, s, "/health")
	want := regexp.MustCompile(`^{"status":"ok","duties":{"log_archive":{"ok":true,"age_seconds":[\d.]+},"log_rotation":{"ok":true,"age_seconds":[\d.]+},"sbom":{"ok":true,"age_seconds":[\d.]+(,"never_succeeded":true)?}}}\n$`) // the binaries are read a little later
	if status != 200 || !want.MatchString(body) {
		t.Errorf("/health: %d %s", status, body)
	}
}

func TestHealthBeforeTheFirstLook(t *testing.T) {
	log := openLog(t, t.TempDir(), "sidecar")
	s, err := New(testConfig(t.TempDir()), log)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.publicRoutes()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	s.tcp = l
	if status, body := get(t, s, "/health/startup"); status != 503 || body != `{"reason":"log_rotation","status":"starting"}`+"\n" {
		t.Errorf("startup: %d %s", status, body)
	}
	if status, body := get(t, s, "/health/ready"); status != 503 || body != `{"reason":"log_rotation","status":"not_ready"}`+"\n" {
		t.Errorf("ready: %d %s", status, body)
	}
	s.archive.duty.turned = time.Now().Add(-stuckAfter - time.Second)
	if status, body := get(t, s, "/health/live"); status != 503 || body != `{"reason":"log_archive","status":"stuck"}`+"\n" {
		t.Errorf("live with a stuck loop: %d %s", status, body)
	}
}

// Nothing that goes wrong in the folder ends the sidecar; it says so, and goes on
// when it can.
func TestFolderThatGoesAndComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	s := startTest(t, testConfig(dir))
	setPatience := func(d time.Duration) {
		s.rotator.duty.mu.Lock()
		s.rotator.duty.patience = d
		s.rotator.duty.mu.Unlock()
	}
	setPatience(time.Nanosecond)
	degraded := func() bool {
		_, body := get(t, s, "/health")
		return strings.Contains(body, `"status":"degraded"`) && strings.Contains(body, "--log-dir="+dir)
	}
	eventually(t, "the missing folder is told", degraded)
	// That must not take the pod out of its Service.
	eventually(t, "ready all the same", func() bool {
		status, _ := get(t, s, "/health/ready")
		return status == 200
	})
	setPatience(10 * time.Second)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "proxy.log", strings.Repeat("line\n", 100_000))
	eventually(t, "the log is archived", func() bool {
		found, err := look(dir)
		return err == nil && len(found.archive) == 1
	})
	eventually(t, "health forgets what is over", func() bool {
		_, body := get(t, s, "/health")
		return strings.Contains(body, `"status":"ok"`) && !strings.Contains(body, "error")
	})
}

func TestSecondSidecarWaitsAndTakesOver(t *testing.T) {
	dir := t.TempDir()
	first := startTest(t, testConfig(dir))
	eventually(t, "the first owns the logs", func() bool {
		_, body := get(t, first, "/health")
		return strings.Contains(body, `"status":"ok"`) && !strings.Contains(body, "never_succeeded")
	})
	second := startTest(t, testConfig(dir))
	eventually(t, "the second says why it waits", func() bool {
		_, body := get(t, second, "/health")
		return strings.Contains(body, "another sidecar looks after it")
	})
	write(t, dir, "proxy.log", strings.Repeat("line\n", 100_000))
	eventually(t, "the log is archived", func() bool {
		found, err := look(dir)
		return err == nil && len(found.archive) == 1
	})
	if _, body := get(t, second, "/metrics"); !strings.Contains(body, "\nsemantic_log_rotations_total 0\n") {
		t.Error("the second rotated as well")
	}
	stop(t, first)
	write(t, dir, "engine.log", strings.Repeat("line\n", 100_000))
	eventually(t, "the second takes over", func() bool {
		_, body := get(t, second, "/metrics")
		return strings.Contains(body, "\nsemantic_log_rotations_total 1\n")
	})
}

func TestPromtoolFindsNothing(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal(`promtool is missing (Debian package prometheus): run "make test-setup"`)
	}
	s := startTest(t, testConfig(t.TempDir()))
	_, body := get(t, s, "/metrics")
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s\nin\n%s", err, out, body)
	}
	for _, series := range []string{
		"semantic_log_rotations_total 0", `semantic_log_bytes{state="active"} `, `semantic_log_bytes{state="rotated"} `,
		`semantic_log_bytes{state="compressed"} `, "semantic_log_reopen_stalled 0", `semantic_disk_free_ratio{volume="logs"} 0.`,
		`semantic_build_info{process="sidecar",`, `process_open_fds{process="sidecar"} `, `semantic_log_lines_total{process="sidecar",level="info"} `,
	} {
		if !strings.Contains(body, "\n"+series) {
			t.Errorf("no series %q", series)
		}
	}
}

// ask answers a request to a sidecar's socket.
func ask(t testing.TB, socket, path string) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://sidecar" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return body
}

func TestSocketServesThePodsRoutesToo(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Socket = filepath.Join(t.TempDir(), "sidecar.sock")
	s := startTest(t, cfg)
	ask := func(path string) []byte { return ask(t, cfg.Socket, path) }
	eventually(t, "the state is ready", func() bool {
		var got state
		if err := json.Unmarshal(ask(api.PathState), &got); err != nil {
			t.Fatal(err)
		}
		return got.Boot == s.log.Boot() && got.Phase == api.PhaseReady && got.Status == "ok" && len(got.Duties) == 3
	})
	var build telemetry.Build
	if err := json.Unmarshal(ask(api.PathBuild), &build); err != nil || len(build.ExecutableSHA256) != 64 || build.Version == "" {
		t.Errorf("build %+v, %v", build, err)
	}
	if body := ask(api.PathMetrics); !bytes.Contains(body, []byte("semantic_log_rotations_total")) {
		t.Errorf("metrics: %s", body)
	}
	ask("/health/live")
	if status, _ := get(t, s, api.PathState); status != 404 {
		t.Errorf("the TCP address answers %s with %d", api.PathState, status)
	}
}

func TestAPageThatIsBeingMadeDoesNotHoldUpTheEnd(t *testing.T) {
	s := startTest(t, testConfig(t.TempDir()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, asked := make(chan struct{}), make(chan error, 1)
	s.serve("slow", l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end took %s", took)
	}
	if <-asked == nil {
		t.Error("a page that is never made was answered")
	}
}

func TestUnknownRoutesAndMethodsAreRefused(t *testing.T) {
	s := startTest(t, testConfig(t.TempDir()))
	if status, _ := get(t, s, "/nothing"); status != 404 {
		t.Errorf("an unknown route gives %d", status)
	}
	resp, err := http.Post("http://"+s.Addr().String()+"/metrics", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("POST gives %d", resp.StatusCode)
	}
}

func TestStartFailsOnATakenAddressOrSocket(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	log := openLog(t, t.TempDir(), "sidecar")
	cfg := testConfig(t.TempDir())
	cfg.Listen = taken.Addr().String()
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "--sidecar-listen="+cfg.Listen) {
		t.Errorf("a taken port gives %v", err)
	}

	cfg = testConfig(t.TempDir())
	cfg.Socket = filepath.Join(t.TempDir(), "sidecar.sock")
	holder, err := unixsock.Listen(cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if s, err = New(cfg, log); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), cfg.Socket) {
		t.Errorf("a held socket gives %v", err)
	}
	if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
		conn.Close()
		t.Error("the address is still listened on after a start that failed")
	}
}

func TestConfigSaysWhichFlagIsWrong(t *testing.T) {
	for flag, change := range map[string]func(*Config){
		"--sidecar-listen":              func(c *Config) { c.Listen = "8002" },
		"--log-rotate-bytes":            func(c *Config) { c.RotateBytes = telemetry.DefaultMaxBytes },
		"--log-keep":                    func(c *Config) { c.Keep = 0 },
		"--log-check-interval":          func(c *Config) { c.CheckInterval = time.Millisecond },
		"--log-dir":                     func(c *Config) { c.LogDir = "" },
		"--log-rotate-schedule":         func(c *Config) { c.RotateSchedule = "daily" },
		"names a time that never comes": func(c *Config) { c.RotateSchedule = "0 0 31 2 *" },
		"--log-max-bytes":               func(c *Config) { c.MaxBytes = 1 },
		"--retain-errors":               func(c *Config) { c.MaxAge, c.RetainErrors = 2*Age(day), Age(day) },
	} {
		cfg := testConfig("x")
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
