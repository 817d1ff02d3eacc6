package e2e

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// drillParameters make the rules quick.
const drillParameters = `
window: 8s
long_window: 12s
stall_window: 8s
target_down_for: 3s
engine_down_for: 2s
engine_restarts: 2
pool_critical_ratio: 0.5
pool_critical_for: 2s
auth_failures_rate: 0.5
auth_failures_for: 2s
disk_critical_for: 2s
`

const drillKey = "the-drill's-key-0123456789abcdef"

// inDrill says that the test runs in mounts of its own.
const inDrill = "SEMANTIC_TEST_DRILL"

// Faults end to end, with Debian's Prometheus and Alertmanager: each is made for real,
// comes as an alert to a receiver, and resolves. The volume of the logs is a small one,
// mounted where nobody else sees it.
func TestFaultsBecomeAlertsAndResolve(t *testing.T) {
	if os.Getenv(inDrill) == "" {
		t.Parallel()
		inOwnMounts(t)
		return
	}
	m := newMonitor(t)
	p := drilledPod(t, m)
	m.watch(t, p)
	await(t, "the rules to be in force", func() bool {
		return strings.Contains(fetch(t, p.sidecar+"/metrics"), "\nsemantic_rules_healthy 1\n")
	})
	await(t, "the watchdog", func() bool { _, there := m.received.last("Watchdog", "firing", time.Time{}); return there })
	proxy := map[string]string{"job": "semantic", "instance": strings.TrimPrefix(p.url, "http://")}
	sidecar := map[string]string{"job": "semantic-sidecar", "instance": strings.TrimPrefix(p.sidecar, "http://"), "volume": "logs"}

	m.drill(t, "SemanticDiskCritical", "page", true, sidecar, func() func() { return fillDisk(t, p.logDir()) })
	m.drill(t, "SemanticAuthFailuresSurge", "ticket", true, proxy, func() func() { return abuse(p) })
	m.drill(t, "SemanticPoolNearExhaustion", "page", true, proxy, func() func() { return fillPool(p) })
	m.drill(t, "SemanticEngineRestarting", "page", false, proxy, func() func() { return killEngine(t, p, 3) })
	m.drill(t, "SemanticEngineDown", "page", true, proxy, func() func() { return stopEngine(t, p) })
	silencedDrain(t, m, p)
}

// inOwnMounts runs the test once more in a mount namespace.
func inOwnMounts(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inDrill+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), ContainerID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), ContainerID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("cannot start a process in a mount namespace (needs root, or user namespaces allowed by the kernel): %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// drilledPod has its logs on 48 MiB, a small pool, a key, and rules to deliver.
func drilledPod(t *testing.T, m *monitor) *pod {
	t.Helper()
	dir := shortDir(t)
	logs := filepath.Join(dir, "logs")
	for _, err := range []error{
		os.Mkdir(logs, 0o700),
		syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""),
		syscall.Mount("tmpfs", logs, "tmpfs", 0, "size=48m,mode=700"),
		os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte(drillParameters), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = syscall.Unmount(logs, syscall.MNT_DETACH) })
	p := newDoomedPod(t, settings{
		dir: dir, env: []string{"SEMANTIC_API_KEYS=drill:" + drillKey},
		args: []string{
			"--rules-mode", "deliver", "--rules-dir", m.rules, "--prometheus-url", m.prometheus, "--alertmanager-url", m.alertmanager,
			"--alert-file", filepath.Join(dir, "alerts.yaml"), "--rules-check-interval", "1s", "--silence-for", "10s",
			"--context", "512", "--kv-memory", "12MiB", "--no-ready-on-pressure", "--log-min-free", "0", "--drain-delay", "3s",
		},
	})
	return p
}

func fillDisk(t *testing.T, dir string) (undo func()) {
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() { os.Remove(path) }
}

// until runs some loops until undo.
func until(loops int, do func(ctx context.Context)) (undo func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			for ctx.Err() == nil {
				do(ctx)
			}
		})
	}
	return func() { stop(); wg.Wait() }
}

// abuse asks with keys that are none.
func abuse(p *pod) (undo func()) {
	return until(2, func(context.Context) {
		p.call(http.MethodPost, chatPath, chat("Hi.", 1).String(), "Authorization", "Bearer guess")
		time.Sleep(50 * time.Millisecond)
	})
}

// fillPool lets more answers grow than the pool has room for.
func fillPool(p *pod) (undo func()) {
	return until(6, func(ctx context.Context) {
		if s, err := p.stream(ctx, counting(380), "Authorization", "Bearer "+drillKey); err == nil {
			s.rest()
		}
		time.Sleep(10 * time.Millisecond)
	})
}

// killEngine kills it as often, each time when it is back.
func killEngine(t *testing.T, p *pod, times int) (undo func()) {
	t.Helper()
	for range times {
		await(t, "the engine", func() bool { return p.health("ready").status == http.StatusOK })
		pid := p.childPID("engine")
		signalPID(t, pid, syscall.SIGKILL)
		await(t, "another engine", func() bool { return p.childPID("engine") != pid })
	}
	return func() {}
}

// stopEngine has it stand still.
func stopEngine(t *testing.T, p *pod) (undo func()) {
	t.Helper()
	await(t, "the engine", func() bool { return p.health("ready").status == http.StatusOK })
	pid := p.childPID("engine")
	signalPID(t, pid, syscall.SIGSTOP)
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

// silencedDrain stops the proxy in order: Alertmanager gets a silence of this pod until
// it is back.
func silencedDrain(t *testing.T, m *monitor, p *pod) {
	t.Helper()
	silences := func() int {
		return strings.Count(fetch(t, m.alertmanager+"/api/v2/silences"), `"state":"active"`)
	}
	if n := silences(); n != 0 {
		t.Errorf("%d silences before the drain", n)
	}
	began := time.Now()
	signalPID(t, p.childPID("proxy"), syscall.SIGTERM)
	await(t, "a silence", func() bool { return silences() == 1 })
	t.Logf("silent %s after the drain began", time.Since(began).Round(100*time.Millisecond))
	await(t, "the proxy", func() bool { return p.health("ready").status == http.StatusOK })
	await(t, "the end of the silence", func() bool { return silences() == 0 })
}
