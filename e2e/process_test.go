package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/e2e/load"
)

// patience is how long a test waits for what must happen. It is far above what a
// healthy pod needs on a slow machine.
const patience = 60 * time.Second

// process is one run of the binary.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	left           chan struct{} // closed when it is gone
	asked          bool          // to end, by a signal
}

// output is what a process has written until now.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// run starts `semantic args…` in a folder, with no setting from our own environment.
func run(dir string, env []string, args ...string) (*process, error) {
	return runBinary(semantic, dir, env, args...)
}

func runBinary(path, dir string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), stdout: &output{}, stderr: &output{}, left: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.stdout, p.stderr
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SEMANTIC_") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = 5 * time.Second // a child that outlives it holds its stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // the state tells
		close(p.left)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) {
	p.asked = true
	_ = p.cmd.Process.Signal(s)
}

// status waits for the end and returns the exit status, -1 after a signal.
func (p *process) status(within time.Duration) (int, error) {
	select {
	case <-p.left:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("%s did not end within %s", strings.Join(p.cmd.Args[1:2], " "), within)
	}
}

// kill ends what still runs of it, for tests that failed half-way.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.left
}

// startProcess runs one process of the pod until the test's end.
func startProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p, err := run(dir, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s\nstderr:\n%s", strings.Join(p.cmd.Args, " "), tail(p.stderr.String(), 4000))
		}
	})
	return p
}

// stopped sends SIGTERM and wants a clean end.
func (p *process) stopped(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if status, err := p.status(patience); err != nil || status != 0 {
		t.Fatalf("after SIGTERM: status %d, %v", status, err)
	}
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func signalPID(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("cannot send %v to %d: %v", s, pid, err)
	}
}

func freePort() (int, error) { return load.FreePort() }

// shortDir makes a folder whose name leaves room for a socket's: t.TempDir's does not.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !within(patience, cond) {
		t.Fatalf("waited %s in vain for %s", patience, what)
	}
}

func within(d time.Duration, cond func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
