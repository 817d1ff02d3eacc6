package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
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

const patience = time.Minute // for what must happen; a failure, not a pace

// engine is an engine process on a socket of its own.
type engine struct {
	binary, dir string
	args        []string
	client      *http.Client

	cmd    *exec.Cmd
	stderr bytes.Buffer
	left   chan struct{} // closed when the process is gone
}

// newEngine returns an engine that keeps its agents in dir, if it has a disk.
func newEngine(t *testing.T, binary, dir string, args ...string) *engine {
	t.Helper()
	e := &engine{binary: binary, dir: dir, args: args}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "engine.sock"))
	}
	e.client = &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 100}, Timeout: patience}
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		e.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", dir, tail(e.stderr.String(), 4000))
		}
	})
	return e
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// start starts the process and waits until its model is loaded.
func (e *engine) start(t *testing.T) {
	t.Helper()
	e.cmd = exec.Command(e.binary, append([]string{
		"engine", "--socket-dir", e.dir, "--data-dir", e.dir, "--log-dir", filepath.Join(e.dir, "logs"), "--threads", "1",
		"--log-level", "warn", "--log-format", "json",
	}, e.args...)...)
	e.cmd.Stderr = &e.stderr
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.left = make(chan struct{})
	go func(cmd *exec.Cmd, left chan struct{}) {
		_ = cmd.Wait() // its status is read from ProcessState
		close(left)
	}(e.cmd, e.left)
	await(t, "the engine is ready", func() bool {
		select {
		case <-e.left:
			t.Fatalf("the engine ended with %v", e.cmd.ProcessState)
		default:
		}
		body, err := e.get(api.PathState)
		return err == nil && strings.Contains(body, `"phase":"ready"`)
	})
}

// kill ends the process at once.
func (e *engine) kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill() // it may be gone already
	<-e.left
}

// terminate lets the process end as an orchestrator does.
func (e *engine) terminate(t *testing.T) {
	t.Helper()
	e.client.CloseIdleConnections()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-e.left:
	case <-time.After(patience):
		t.Fatal("the engine does not end at SIGTERM")
	}
	if status := e.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the engine ended with %d", status)
	}
}

func (e *engine) get(path string) (string, error) {
	r, err := e.client.Get("http://engine" + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// order posts to a path that must answer 200.
func (e *engine) order(t *testing.T, path string) {
	t.Helper()
	r, err := e.client.Post("http://engine"+path, "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, r.StatusCode, b)
	}
}

// metrics returns the engine's series by name and labels.
func (e *engine) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	body, err := e.get(api.PathMetrics)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			all[line[:i]], _ = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		}
	}
	return all
}

// holdings is what a process holds while nothing runs.
type holdings struct {
	goroutines, files int
	anonymous         int // KiB of memory
	utilization       float64
}

func (h holdings) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %.1f MiB, %g of the pool", h.goroutines, h.files, float64(h.anonymous)/1024, h.utilization)
}

// holds looks at an engine that nobody asks anything.
func (e *engine) holds(t *testing.T) (h holdings) {
	t.Helper()
	e.client.CloseIdleConnections()
	m := e.metrics(t)
	for name, v := range m {
		switch {
		case strings.HasPrefix(name, "go_goroutines"):
			h.goroutines = int(v)
		case name == "semantic_pool_utilization_ratio":
			h.utilization = v
		}
	}
	proc := fmt.Sprintf("/proc/%d/", e.cmd.Process.Pid)
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	h.files = len(files)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(string(status), "RssAnon:"); ok {
		h.anonymous, _ = strconv.Atoi(strings.Fields(rest)[0])
	}
	return h
}

// await waits for a condition that must come true.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
