package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/logchain/logsearch"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/telemetry"
)

// logPod is the log folder of a pod: two processes write, a sidecar rotates.
type logPod struct {
	t             testing.TB
	dir           string
	proxy, engine *telemetry.Log
	n             int
}

func newLogPod(t testing.TB) *logPod {
	t.Helper()
	p := &logPod{t: t, dir: t.TempDir()}
	for process, log := range map[string]**telemetry.Log{"proxy": &p.proxy, "engine": &p.engine} {
		l, err := telemetry.OpenLog(telemetry.LogConfig{Process: process, Dir: p.dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		*log = l
	}
	return p
}

// log writes a line of the request in either process, among many others.
func (p *logPod) log(id string, count int) {
	p.t.Helper()
	for range count {
		for _, l := range []*telemetry.Log{p.proxy, p.engine} {
			for range 50 {
				l.Zap().Info("noise", zap.String("request_id", id+"x"), zap.String("padding", strings.Repeat("x", 100)))
			}
			p.n++
			// Each error is another one: what repeats itself would be left out.
			l.Zap().Error("line "+strconv.Itoa(p.n), zap.String("request_id", id), zap.Int("n", p.n))
			if err := l.Sync(); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// sidecar starts one that rotates every few lines.
func (p *logPod) sidecar() {
	p.t.Helper()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: p.dir, Level: "error"})
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := sidecar.New(sidecar.Config{
		Listen: "127.0.0.1:0", CheckInterval: 10 * time.Millisecond, RotateBytes: 64 << 10, Keep: 1000, LogDir: p.dir,
		RetainErrors: sidecar.Age(time.Hour), MinFree: config.Size(0),
	}, log)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Stop(ctx)
		log.Close()
	})
}

// count counts the folder's files of that ending.
func (p *logPod) count(ending string) int {
	files, err := filepath.Glob(filepath.Join(p.dir, "*"+ending))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(files)
}

// waitArchived waits until all rotated files are compressed.
func (p *logPod) waitArchived() {
	p.t.Helper()
	waitUntil(p.t, "all is archived", func() bool {
		plain, _ := filepath.Glob(filepath.Join(p.dir, "*Z"))
		return p.count(".zst") > 0 && !slices.ContainsFunc(plain, func(path string) bool { return !strings.Contains(path, ".errors.") })
	})
}

// numbers returns the n of each line.
func numbers(t testing.TB, text string) []int {
	t.Helper()
	var all []int
	for line := range strings.Lines(text) {
		var l struct{ N int }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, l.N)
	}
	return all
}

// logWait is for what the sidecar's archive does, whose thread gives way to all others of a busy machine.
const logWait = 2 * time.Minute

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func waitUntil(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(logWait); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", logWait, what)
		}
	}
}

func TestLinesOfARequestComeFromAllFilesInOrder(t *testing.T) {
	p := newLogPod(t)
	p.sidecar()
	for p.count(".zst") < 6 {
		p.log("req-1", 10)
	}
	status, out, stderr := semantic("logs", "--request-id", "req-1", "--log-dir", p.dir)
	if got := numbers(t, out); status != 0 || !slices.Equal(got, upTo(p.n)) {
		t.Errorf("status %d, %d lines of %d or not in order\n%s", status, len(got), p.n, stderr)
	}
	status, out, stderr = semantic("logs", "--request-id", "req", "--log-dir", p.dir)
	if status != 1 || out != "" || !strings.Contains(stderr, "no line of request req is in the logs of "+p.dir) {
		t.Errorf("of an unknown request: %d, %s, %s", status, out, stderr)
	}
}

// syncBuffer is written by a command while the test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFollowGoesOnThroughRotations(t *testing.T) {
	p := newLogPod(t)
	p.log("req-1", 5)
	p.sidecar()
	var out, stderr syncBuffer
	ended := make(chan int)
	go func() {
		ended <- run([]string{"logs", "--request-id", "req-1", "--follow", "--log-dir", p.dir}, &out, &stderr)
	}()
	waitUntil(t, "the lines before are shown", func() bool { return strings.Count(out.String(), "\n") == 10 })
	for p.count(".zst") < 6 {
		p.log("req-1", 5)
	}
	waitUntil(t, "the lines since are shown", func() bool { return strings.Count(out.String(), "\n") >= p.n })
	time.Sleep(3 * logsearch.FollowInterval)
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := <-ended; status != 0 || stderr.String() != "" {
		t.Errorf("interrupted it ends with %d: %s", status, stderr.String())
	}
	got := numbers(t, out.String())
	slices.Sort(got) // lines of two looks may be out of order by a moment
	if !slices.Equal(got, upTo(p.n)) {
		t.Errorf("%d lines of %d, or some twice", len(got), p.n)
	}
}

// openTerminal returns the two ends of a terminal.
func openTerminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestLinesAreColouredOnATerminal(t *testing.T) {
	p := newLogPod(t)
	p.engine.Zap().Warn("evil \x1b[2J\u009b2J", zap.String("request_id", "req-1"), zap.String("path", "/v1/messages"), zap.Int("status", 200))
	p.engine.Sync()
	for colour, want := range map[string]string{
		"":  "\x1b[33mWARN \x1b[0m  \x1b[35mengine \x1b[0m  \x1b[1m\"evil \\x1b[2J\\u009b2J\"\x1b[0m  \x1b[2mpath=\x1b[0m/v1/messages  \x1b[2mstatus=\x1b[0m200\r\n",
		"1": `WARN   engine   "evil \x1b[2J\u009b2J"  path=/v1/messages  status=200` + "\r\n",
	} {
		t.Setenv("NO_COLOR", colour)
		master, slave := openTerminal(t)
		if status := run([]string{"logs", "--request-id", "req-1", "--log-dir", p.dir}, slave, os.Stderr); status != 0 {
			t.Fatalf("status %d", status)
		}
		buf := make([]byte, 4096)
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); !strings.HasSuffix(got, want) {
			t.Errorf("NO_COLOR=%s: got %q, want it to end with %q", colour, got, want)
		}
	}
}

func TestVerifyEndsWithTheFirstFault(t *testing.T) {
	p := newLogPod(t)
	p.sidecar()
	for p.count(".zst") < 3 {
		p.log("req-1", 5)
	}
	p.waitArchived()
	status, out, stderr := semantic("logs", "verify", p.dir)
	if status != 0 || !strings.HasPrefix(out, "proved: ") || !strings.Contains(out, "\nhead: ") {
		t.Fatalf("status %d\n%s%s", status, out, stderr)
	}
	head := strings.TrimSpace(out[strings.Index(out, "head: ")+len("head: "):])
	if status, _, stderr := semantic("logs", "verify", "--log-dir", p.dir, "--expect-head", head); status != 0 {
		t.Errorf("with its own head: %d\n%s", status, stderr)
	}
	archives, _ := filepath.Glob(filepath.Join(p.dir, "proxy.log.*.zst"))
	slices.Sort(archives)
	os.Remove(archives[0])
	status, out, stderr = semantic("logs", "verify", p.dir)
	if want := filepath.Base(archives[0]); status != 1 || !strings.HasPrefix(out, "FAULT "+want) || !strings.Contains(stderr, "first: "+want) || !strings.Contains(stderr, "removed") {
		t.Errorf("without %s: %d\n%s%s", want, status, out, stderr)
	}
}

func TestEveryBadLogsCommandSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes.pem")
	if err := os.WriteFile(notes, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"logs"}, 2, "--request-id=ID"},
		{[]string{"logs", "--request-id", "a b"}, 2, `--request-id="a b"`},
		{[]string{"logs", "--request-id", "a", "--log-dir", dir + "/none"}, 1, "cannot read the logs"},
		{[]string{"logs", "verify", dir}, 1, "cannot read the manifest"},
		{[]string{"logs", "verify", dir, "--expect-head", "7"}, 2, "--expect-head"},
		{[]string{"logs", "verify", dir, "--key", notes}, 2, "--key=" + notes},
	} {
		if status, _, stderr := semantic(c.args...); status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: status %d, %s; want %d, %q", c.args, status, stderr, c.status, c.says)
		}
	}
}
