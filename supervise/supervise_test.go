package supervise

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// The children of these tests are this test binary itself, told by its
// environment what to do.
func TestMain(m *testing.M) {
	if act := os.Getenv("TEST_CHILD"); act != "" {
		os.Exit(childMain(act))
	}
	os.Exit(m.Run())
}

func childMain(act string) int {
	note := func(what string) {
		f, _ := os.OpenFile(os.Getenv("TEST_NOTES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		defer f.Close()
		_, _ = f.WriteString(os.Getenv("TEST_NAME") + " " + what + "\n")
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch act {
	case "usage":
		return StatusUsage
	case "never up":
		return 1
	case "silent":
		time.Sleep(time.Minute)
	case "dies":
		_ = NotifyReady()
		note("up")
		if n := Restarts(); n != nil {
			note("restarts " + strconv.Itoa(*n))
		}
		return 7
	}
	if err := NotifyReady(); err != nil {
		return 9
	}
	note("up " + strconv.Itoa(os.Getpid()))
	<-term
	if act == "deaf" {
		time.Sleep(time.Minute)
	}
	note("stopped")
	return 0
}

type pod struct {
	*Supervisor
	logs   *observer.ObservedLogs
	notes  string
	cancel context.CancelFunc
	abort  chan struct{}
	result chan error
}

func start(t *testing.T, acts ...string) *pod {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	p := &pod{logs: logs, notes: filepath.Join(t.TempDir(), "notes"), abort: make(chan struct{}), result: make(chan error, 1)}
	var specs []Spec
	for i, act := range acts {
		name := string(rune('a' + i))
		specs = append(specs, Spec{
			Name: name, Args: []string{os.Args[0]}, StartTimeout: 2 * time.Second, StopTimeout: 2 * time.Second,
			Slow: act == "slow",
			Env:  append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TEST_CHILD="+act, "TEST_NAME="+name, "TEST_NOTES="+p.notes),
		})
	}
	p.Supervisor = New(zap.New(core), specs)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	t.Cleanup(cancel)
	go func() { p.result <- p.Run(ctx, p.abort) }()
	return p
}

func (p *pod) read() string {
	b, _ := os.ReadFile(p.notes)
	return string(b)
}

func (p *pod) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s; notes:\n%s", what, p.read())
		}
	}
}

func (p *pod) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.result:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("the supervisor did not end; notes:\n%s", p.read())
		return nil
	}
}

// lived starts children, and stops them when all were up.
func lived(t *testing.T, acts ...string) *pod {
	t.Helper()
	p := start(t, acts...)
	p.await(t, "all up", func() bool { return strings.Count(p.read(), "up") == len(acts) })
	p.cancel()
	if err := p.ended(t); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestChildrenStopOneAfterTheOtherInReverseOrder(t *testing.T) {
	p := lived(t, "good", "good", "good")
	var stopped []string
	for line := range strings.Lines(p.read()) {
		if name, ok := strings.CutSuffix(line, " stopped\n"); ok {
			stopped = append(stopped, name)
		}
	}
	if got := strings.Join(stopped, ""); got != "cba" {
		t.Errorf("stopped in the order %q, want cba", got)
	}
}

func TestTheSlowOneIsStartedFirst(t *testing.T) {
	p := lived(t, "good", "slow", "good")
	var started []string
	for _, e := range p.logs.FilterMessage("child started").All() {
		started = append(started, e.ContextMap()["child"].(string))
	}
	if got := strings.Join(started, ""); got != "bac" {
		t.Errorf("started in the order %q, want bac", got)
	}
}

func TestADeadChildIsRestartedWithGrowingBackoff(t *testing.T) {
	p := start(t, "good", "dies")
	p.await(t, "four starts", func() bool { return strings.Count(p.read(), "b up") == 4 })
	p.cancel()
	if err := p.ended(t); err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	for _, e := range p.logs.FilterMessage("child died").All() {
		waits = append(waits, e.ContextMap()["restart_in"].(time.Duration))
		if want := int64(len(waits)); e.ContextMap()["restarts"] != want {
			t.Errorf("restart %d was counted as %v", want, e.ContextMap()["restarts"])
		}
	}
	if len(waits) < 3 || waits[0] != firstBackoff || waits[1] != 2*firstBackoff || waits[2] != 4*firstBackoff {
		t.Errorf("back-off was %v", waits)
	}
	for n := range 3 {
		if want := "b restarts " + strconv.Itoa(n) + "\n"; !strings.Contains(p.read(), want) {
			t.Errorf("the child was not told %q:\n%s", want, p.read())
		}
	}
	if Restarts() != nil {
		t.Error("a process without a supervisor knows its restarts")
	}
}

func TestAKilledChildComesBackAloneWithItsPidInTheLog(t *testing.T) {
	p := start(t, "good", "good")
	p.await(t, "both up", func() bool { return strings.Count(p.read(), "up") == 2 })
	pids := map[string]int{}
	for _, e := range p.logs.FilterMessage("child started").All() {
		pids[e.ContextMap()["child"].(string)] = int(e.ContextMap()["pid"].(int64))
	}
	if err := syscall.Kill(pids["b"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.await(t, "b up again", func() bool { return strings.Count(p.read(), "b up") == 2 })
	if n := strings.Count(p.read(), "a up"); n != 1 {
		t.Errorf("a started %d times", n)
	}
	p.cancel()
	if err := p.ended(t); err != nil {
		t.Fatal(err)
	}
}

func TestAChildThatCannotComeUpEndsTheWhole(t *testing.T) {
	for act, status := range map[string]int{"usage": StatusUsage, "never up": 1} {
		t.Run(act, func(t *testing.T) {
			p := start(t, "good", act)
			var exit *ExitError
			if err := p.ended(t); !errors.As(err, &exit) || exit.Name != "b" || exit.Status != status {
				t.Errorf("got %v, want b's status %d", err, status)
			}
			// a is either stopped by signal before it came up, or says that it stopped.
			if got := p.read(); strings.Contains(got, "a up") && !strings.Contains(got, "a stopped") {
				t.Errorf("a did not stop:\n%s", got)
			}
		})
	}
}

func TestAChildThatNeverSaysItIsUpIsKilled(t *testing.T) {
	p := start(t, "silent")
	var exit *ExitError
	if err := p.ended(t); !errors.As(err, &exit) || !strings.Contains(exit.Reason, "killed") {
		t.Errorf("got %v", err)
	}
}

func TestAChildThatDoesNotStopInItsBudgetIsKilledAndNamed(t *testing.T) {
	p := start(t, "good", "deaf")
	p.await(t, "both up", func() bool { return strings.Count(p.read(), "up") == 2 })
	p.cancel()
	err := p.ended(t)
	if err == nil || !strings.Contains(err.Error(), "b had to be killed") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(p.read(), "a stopped") {
		t.Error("a was not stopped after b")
	}
}

func TestASecondSignalEndsTheWait(t *testing.T) {
	p := start(t, "good", "deaf", "good")
	p.await(t, "three up", func() bool { return strings.Count(p.read(), "up") == 3 })
	for _, c := range p.children {
		c.StopTimeout = time.Minute // read when it stops, after the channel is closed
	}
	p.cancel()
	p.await(t, "c stopped", func() bool { return strings.Contains(p.read(), "c stopped") })
	began := time.Now()
	close(p.abort)
	if err := p.ended(t); err == nil || !strings.Contains(err.Error(), "second signal") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestChildrenDoNotOutliveAKilledSupervisor(t *testing.T) {
	if os.Getenv("TEST_SUPERVISOR") != "" {
		p := start(t, "good")
		p.ended(t)
		return
	}
	notes := filepath.Join(t.TempDir(), "notes")
	parent := Spec{
		Name: "supervisor", Args: []string{os.Args[0], "-test.run", "^" + t.Name() + "$"},
		Env: append(os.Environ(), "TEST_SUPERVISOR=1", "TMPDIR="+filepath.Dir(notes)), StartTimeout: time.Minute, StopTimeout: time.Second,
	}
	core, logs := observer.New(zap.InfoLevel)
	outer := New(zap.New(core), []Spec{parent})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- outer.Run(ctx, nil) }()
	var grandchild int
	read := func() int {
		files, _ := filepath.Glob(filepath.Join(filepath.Dir(notes), "*", "*", "notes"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			if _, pid, ok := strings.Cut(strings.TrimSpace(string(b)), "up "); ok {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
		return 0
	}
	for end := time.Now().Add(10 * time.Second); grandchild == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		grandchild = read()
	}
	if grandchild == 0 {
		t.Fatal("the grandchild did not come up")
	}
	pid := int(logs.FilterMessage("child started").All()[0].ContextMap()["pid"].(int64))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if syscall.Kill(grandchild, 0) != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the grandchild outlived its supervisor")
		}
	}
	cancel()
	<-result
}
