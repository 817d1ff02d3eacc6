package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with a program on it, and an emulator that shows what
// the program draws. It answers none of the questions that a program may ask it.
type terminal struct {
	pty, tty *os.File
	shown    *vt.SafeEmulator
	raw      *output // all that came
	process  *exec.Cmd
	left     chan struct{}
	before   unix.Termios
}

// onTerminal runs `semantic args…` on a terminal of that size.
func onTerminal(t *testing.T, width, height int, env []string, args ...string) *terminal {
	t.Helper()
	x := &terminal{shown: vt.NewSafeEmulator(width, height), raw: &output{}, left: make(chan struct{})}
	var err error
	if x.pty, x.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	x.before = x.modes(t)
	x.resize(t, width, height)
	x.process = exec.Command(semantic, args...)
	x.process.Env = append(append(os.Environ(), "TERM=vt100"), env...)
	x.process.Stdin, x.process.Stdout, x.process.Stderr = x.tty, x.tty, x.tty
	x.process.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = x.process.Wait(); close(x.left) }()
	go func() { _, _ = io.Copy(io.Discard, x.shown) }() // the emulator's answers
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(io.MultiWriter(x.raw, x.shown), x.pty) }()
	t.Cleanup(func() {
		_ = x.process.Process.Kill()
		<-x.left
		if t.Failed() {
			t.Logf("the terminal shows:\n%s", x.screen())
		}
		x.tty.Close()
		x.pty.Close()
		<-read
		x.shown.Close()
	})
	return x
}

func (x *terminal) modes(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

func (x *terminal) resize(t *testing.T, width, height int) {
	t.Helper()
	x.shown.Resize(width, height)
	if err := pty.Setsize(x.pty, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
}

// screen is what is to be seen now.
func (x *terminal) screen() string { return x.shown.String() }

// shows waits until the screen matches, and returns the groups.
func (x *terminal) shows(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	await(t, "the terminal to show "+pattern, func() bool {
		found = re.FindStringSubmatch(x.screen())
		return found != nil
	})
	return found
}

// ends types a key, and wants the program to end well and the terminal to be as it was.
func (x *terminal) ends(t *testing.T, key string) {
	t.Helper()
	if _, err := io.WriteString(x.pty, key); err != nil {
		t.Fatal(err)
	}
	select {
	case <-x.left:
	case <-time.After(patience):
		t.Fatalf("%q does not end it", key)
	}
	if status := x.process.ProcessState.ExitCode(); status != 0 {
		t.Errorf("after %q the status is %d", key, status)
	}
	if after := x.modes(t); after != x.before {
		t.Errorf("after %q the terminal's modes are %+v, they were %+v", key, after, x.before)
	}
	await(t, "the end of what it wrote", func() bool { return strings.Contains(x.raw.String(), "\x1b[?1049l") })
	if said := x.raw.String(); strings.LastIndex(said, "\x1b[?25h") < strings.LastIndex(said, "\x1b[?25l") {
		t.Errorf("after %q the cursor is hidden", key)
	}
}

// topParameters make the rule of the test quick.
const topParameters = "window: 8s\nauth_failures_rate: 0.5\nauth_failures_for: 1s\n"

// TestTopShowsWhatTheTrafficDrives looks at a pod on a pseudo terminal.
func TestTopShowsWhatTheTrafficDrives(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte(topParameters), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings{
		dir: dir, env: []string{"SEMANTIC_API_KEYS=observer:" + observerKey},
		args: []string{"--port", strconv.Itoa(port), "--rules-mode", "deliver", "--rules-dir", m.rules, "--prometheus-url", m.prometheus,
			"--alert-file", filepath.Join(dir, "alerts.yaml"), "--rules-check-interval", "1s"},
	}
	p := podAt(t, s, port)
	m.watch(t, p)
	x := onTerminal(t, 120, 40, []string{"SEMANTIC_TOP_KEY=" + observerKey},
		"top", "--url", p.url, "--sidecar-url", p.sidecar, "--interval", "200ms", "--window", "5m")
	x.shows(t, `semantic top +`+p.url+` +ready`)
	const turns, tokens = 5, 8
	for range turns {
		g := p.mustGenerate(t, counting(tokens).with(body{"stream": true}), append(bearer(observerKey), "X-Agent-ID", "seen-by-top")...)
		if g.usage.Completion != tokens {
			t.Fatalf("an answer has %d tokens", g.usage.Completion)
		}
	}
	x.shows(t, fmt.Sprintf(`length +\d+\.\d/s +%d\b`, turns))
	x.shows(t, fmt.Sprintf(`tokens out +\d+\.\d/s +%d\b`, turns*tokens))
	x.shows(t, fmt.Sprintf(`between tokens +[\d.]+m?s +[\d.]+m?s +[\d.]+m?s +%d\b`, turns*(tokens-1)))
	first := x.shows(t, fmt.Sprintf(`first token +(\S+) +(\S+) +(\S+) +%d\b`, turns))
	checkPercentiles(t, first[1:])
	x.shows(t, `running 0 +queued 0 +in flight 0`)
	x.shows(t, `KV pool +\[[#-]+\] +\d+\.\d%`)
	x.shows(t, `seen-by-top +hot +\d+ tokens`)
	x.shows(t, `observer +\[[#-]+\] +\d+\.\d%`)

	stop := abuse(p)
	x.shows(t, `firing +warning +SemanticAuthFailuresSurge`)
	stop()

	checkLayout(t, x)

	p.mustStop(t)
	x.shows(t, `The pod is away: `+p.url)
	again := podAt(t, s, port)
	await(t, "the terminal to show the pod again", func() bool {
		return !strings.Contains(x.screen(), "The pod is away") && regexp.MustCompile(p.url+` +ready`).MatchString(x.screen())
	})
	x.ends(t, "q")
	y := onTerminal(t, 80, 50, nil, "top", "--url", again.url, "--sidecar-url", again.sidecar)
	y.shows(t, `say --key`)
	y.ends(t, "\x03")
	again.mustStop(t)
}

// podAt is a doomed pod on a port that the test chose, to come back there.
func podAt(t *testing.T, s settings, port int) *pod {
	t.Helper()
	p, err := launchPod(s)
	if err != nil {
		t.Fatal(err)
	}
	p.cleanUp(t)
	p.port, p.url = port, "http://"+address(port)
	await(t, "the pod", func() bool { return p.health("ready").status == http.StatusOK && p.sidecarListens() })
	return p
}

// checkPercentiles wants p50, p95 and p99 as durations that rise.
func checkPercentiles(t *testing.T, shown []string) {
	t.Helper()
	last := time.Duration(0)
	for _, text := range shown {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d < last {
			t.Errorf("the percentiles of the first token are %q: %v", shown, err)
		}
		last = d
	}
}

// checkLayout wants the sections beside each other where there is room, and below each
// other where there is none; nothing ever wider than the terminal.
func checkLayout(t *testing.T, x *terminal) {
	t.Helper()
	const beside = `Requests, last \d+ s +Engine`
	x.shows(t, beside)
	x.resize(t, 60, 50)
	narrow := regexp.MustCompile(`(?m)^Engine *$`)
	await(t, "the sections below each other", func() bool { return narrow.MatchString(x.screen()) })
	x.resize(t, 40, 12)
	await(t, "a small screen whose last line says how to leave", func() bool {
		lines := strings.Split(strings.TrimRight(x.screen(), "\n "), "\n")
		return len(lines) == 12 && strings.HasPrefix(lines[11], "q or ctrl-c ends")
	})
	x.resize(t, 120, 40)
	x.shows(t, beside)
}

// TestTopNeedsATerminalOrOnce asks for it where there is none.
func TestTopNeedsATerminalOrOnce(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	p.mustGenerate(t, chat("Hello.", 2))
	out, err := exec.Command(semantic, "top", "--url", p.url, "--sidecar-url", p.sidecar).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "--once") {
		t.Errorf("without a terminal: %v\n%s", err, out)
	}
	out, err = exec.Command(semantic, "top", "--once", "--interval", "200ms", "--url", p.url, "--sidecar-url", p.sidecar).CombinedOutput()
	if err != nil || !regexp.MustCompile(`tokens out +\d`).Match(out) || !strings.Contains(string(out), "--prometheus-url") || strings.Contains(string(out), "\x1b") {
		t.Errorf("once: %v\n%s", err, out)
	}
}
