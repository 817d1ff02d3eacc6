package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settings say how a pod differs from the usual one of the tests.
type settings struct {
	args      []string
	env       []string
	dir       string   // "" makes a new one
	port      int      // 0 takes a free one
	upstreams []string // that compute instead of the model
}

// pod is one `semantic serve` with folders and ports of its own.
type pod struct {
	*process
	dir          string // data-dir; logs and sockets are below
	port         int
	url, sidecar string
	ownsDir      bool
	client       *http.Client
}

// startPod starts a pod and returns when it is ready.
func startPod(s settings) (*pod, error) {
	p, err := launchPod(s)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); p.health("ready").status != http.StatusOK || !p.sidecarListens(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.left:
			return nil, fmt.Errorf("the pod ended with %v:\n%s", p.cmd.ProcessState, p.stderr)
		default:
		}
		if time.Now().After(end) {
			p.kill()
			return nil, fmt.Errorf("the pod was not ready after %s:\n%s", patience, p.stderr)
		}
	}
	return p, nil
}

// sidecarListens: nothing in a pod waits for its sidecar, so a test that asks it must.
func (p *pod) sidecarListens() bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.sidecar, "http://"))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// launchPod starts a pod and waits for nothing.
func launchPod(s settings) (*pod, error) {
	p := &pod{dir: s.dir, client: &http.Client{Timeout: 5 * patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "e2e")
		if err != nil {
			return nil, err
		}
		p.dir, p.ownsDir = dir, true
	}
	port := s.port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	sidecar, err := freePort()
	if err != nil {
		return nil, err
	}
	p.port, p.url, p.sidecar = port, "http://"+address(port), "http://"+address(sidecar)
	args := []string{
		"serve", "--data-dir", p.dir, "--port", strconv.Itoa(port), "--sidecar-listen", address(sidecar),
		"--drain-delay", "50ms", "--drain-quiet", "50ms",
	}
	if s.upstreams == nil {
		args = append(args, "--model", model, "--kv-memory", "512MiB")
	} else {
		args = append(args, "--backend", "upstream", "--upstream-url", strings.Join(s.upstreams, ","))
	}
	args = append(args, s.args...) // the last of a flag's values holds
	p.process, err = run(p.dir, s.env, args...)
	return p, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// newPod is a pod of the test's own, which must end well when the test does.
func newPod(t *testing.T, args ...string) *pod {
	t.Helper()
	p := newDoomedPod(t, settings{args: args})
	t.Cleanup(func() { p.mustStop(t) })
	return p
}

// newDoomedPod is a pod whose end is the test's own matter.
func newDoomedPod(t *testing.T, s settings) *pod {
	t.Helper()
	p, err := startPod(s)
	if err != nil {
		t.Fatal(err)
	}
	p.cleanUp(t)
	return p
}

// cleanUp removes what is left of the pod at the test's end.
func (p *pod) cleanUp(t *testing.T) {
	t.Cleanup(func() {
		p.kill()
		if err := p.checkSchema(); err != nil {
			t.Error(err)
		}
		p.show(t)
		p.discard()
	})
}

func (p *pod) mustStop(t *testing.T) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Errorf("the pod's end: %v", err)
	}
}

// show prints what a failed test's pod said.
func (p *pod) show(t *testing.T) {
	if !t.Failed() {
		return
	}
	t.Logf("stderr:\n%s", tail(p.stderr.String(), 3000))
	for _, name := range []string{"serve", "proxy", "engine", "sidecar"} {
		b, _ := os.ReadFile(p.log(name))
		t.Logf("%s.log:\n%s", name, tail(string(b), 3000))
	}
}

// stop ends the pod with SIGTERM, unless it was asked to before, and holds it to a
// clean end: status 0, and nobody left behind.
func (p *pod) stop() error {
	p.client.CloseIdleConnections()
	if !p.asked {
		p.signal(syscall.SIGTERM)
	}
	status, err := p.status(patience)
	if err != nil {
		p.kill()
		return err
	}
	if status != 0 {
		err = fmt.Errorf("exit status %d", status)
	}
	return errors.Join(err, p.allGone())
}

func (p *pod) discard() {
	if p.ownsDir {
		os.RemoveAll(p.dir)
	}
}

// allGone says which children outlived the pod.
func (p *pod) allGone() error {
	var errs []error
	lines, err := readLogs(p.logDir(), "serve")
	if err != nil {
		errs = append(errs, err)
	}
	started := 0
	for _, l := range lines {
		if l.str("msg") != "child started" {
			continue
		}
		started++
		if pid := int(l.num("pid")); alive(pid) {
			errs = append(errs, fmt.Errorf("%s (%d) outlived serve", l.str("child"), pid))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if started < 3 {
		errs = append(errs, fmt.Errorf("serve.log tells of %d children", started))
	}
	return errors.Join(errs...)
}

func (p *pod) logDir() string            { return filepath.Join(p.dir, "logs") }
func (p *pod) log(process string) string { return filepath.Join(p.logDir(), process+".log") }
func (p *pod) socket(name string) string { return filepath.Join(p.dir, "run", name+".sock") }

// childPID is the process that runs as that child, as serve's log has it; 0 before
// the log does.
func (p *pod) childPID(process string) int {
	pid := 0
	lines, _ := readLogs(p.logDir(), "serve") // a last line that is half written is of the next look
	for _, l := range lines {
		if l.str("msg") == "child started" && l.str("child") == process {
			pid = int(l.num("pid"))
		}
	}
	return pid
}
