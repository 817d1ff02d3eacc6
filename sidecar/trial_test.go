package sidecar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/logchain"
)

// trial is one run of the proof that no line is lost: two writers and a sidecar on a
// small disk, which are killed, run out of disk, and whose clocks step.
type trial struct {
	Dir         string
	Disk        string // size of the tmpfs at Dir
	Rate        int    // lines a second of each writer; 0: as many as it can
	RotateBytes int64
	Rotations   int // at least so many, and so on
	Kills       int
	Fulls       int           // times that the disk is full
	Pause       time.Duration // between two kills, at most
	Limit       time.Duration // for all of it
}

// outcome is what came of it.
type outcome struct {
	Lines, Boots, ErrorLines, Rotations, Kills, KilledCompressing, Fulls, Entries int
	Took                                                                          time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("%d lines (%.0f a second) of %d boots and %d error lines through %d rotations, %d kills (%d of them while compressing), %d full disks and %d entries of the manifest in %s",
		o.Lines, float64(o.Lines)/o.Took.Seconds(), o.Boots, o.ErrorLines, o.Rotations, o.Kills, o.KilledCompressing, o.Fulls, o.Entries, o.Took.Round(time.Second))
}

// run plays the trial in a process that has its own mounts.
func (c trial) run(t *testing.T) outcome {
	t.Helper()
	c.Dir = t.TempDir()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out := inOwnMounts(t, "trial", string(text))
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return o
}

// inOwnMounts plays a role in a mount namespace of its own and returns what it says.
func inOwnMounts(t *testing.T, role string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := startChild(cmd); err != nil {
		t.Fatalf("cannot start a process in a mount namespace (needs root, or user namespaces allowed by the kernel): %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	return stdout.Bytes()
}

// mortal is a process that is killed and started again.
type mortal struct {
	role   string
	args   []string
	onLine func(string)

	cmd  *exec.Cmd
	read sync.WaitGroup
}

func (m *mortal) start() {
	m.cmd = exec.Command("/proc/self/exe", m.args...)
	m.cmd.Env = append(os.Environ(), roleVariable+"="+m.role)
	m.cmd.Stderr = new(bytes.Buffer)
	stdout, err := m.cmd.StdoutPipe()
	must(err)
	must(startChild(m.cmd))
	m.read.Go(func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			m.onLine(lines.Text())
		}
	})
}

// kill ends the process by SIGKILL. That it was still there is part of the proof.
func (m *mortal) kill() {
	must(m.cmd.Process.Kill())
	m.read.Wait()
	if err := m.cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		panic(fmt.Sprintf("%s %q ended by itself: %v\n%s", m.role, m.args, err, m.cmd.Stderr))
	}
}

// acks collects what writers said: by boot, how many lines are acknowledged.
type acks struct {
	mu    sync.Mutex
	lines map[string]int
}

func (a *acks) add(text string) {
	boot, n, _ := strings.Cut(text, " ")
	count, err := strconv.Atoi(n)
	if err != nil {
		return // the last words of one that was killed
	}
	a.mu.Lock()
	a.lines[boot] = count
	a.mu.Unlock()
}

// playTrial plays it in the namespace.
func playTrial(text string) {
	var c trial
	must(json.Unmarshal([]byte(text), &c))
	mountSmall(c.Dir, c.Disk)
	acked := &acks{lines: map[string]int{}}
	rate := strconv.Itoa(c.Rate)
	processes := []*mortal{
		{role: "writer", args: []string{c.Dir, "proxy", rate}, onLine: acked.add},
		{role: "writer", args: []string{c.Dir, "engine", rate}, onLine: acked.add},
		{role: "sidecar", args: []string{c.Dir, strconv.FormatInt(c.RotateBytes, 10)}, onLine: func(string) {}},
	}
	start := time.Now()
	for _, p := range processes {
		p.start()
	}
	o, check, disk := outcome{}, newChecker(c.Dir), newFiller(c.Dir)
	before := 0 // rotations at the sidecar's last kill
	for o.Rotations < c.Rotations || o.Kills < c.Kills || o.Fulls < c.Fulls {
		if time.Since(start) > c.Limit {
			panic(fmt.Sprintf("only this within %s: %s\nleft in the folder:\n%s", c.Limit, o, listing(c.Dir)))
		}
		time.Sleep(c.Pause/20 + rand.N(c.Pause))
		check.consume()
		o.Rotations, o.Fulls = check.rotations(), int(disk.times.Load())
		p := processes[o.Kills%len(processes)]
		if p.role == "sidecar" {
			if o.Rotations == before {
				continue // killed before it gets anywhere, it proves nothing
			}
			before = o.Rotations
			if o.Kills%2 == 0 && waitForPart(c.Dir) {
				o.KilledCompressing++
			}
		}
		p.kill()
		p.start()
		o.Kills++
	}
	for _, p := range processes {
		p.kill()
	}
	o.Took = time.Since(start)
	disk.stop()
	settle(c.Dir)
	o.Rotations = check.rotations()
	check.finish(acked.lines)
	o.Lines, o.Boots, o.ErrorLines, o.Entries = check.lines, check.boots, len(check.errors), check.entries
	answer, err := json.Marshal(o)
	must(err)
	fmt.Println(string(answer))
	os.Exit(0)
}

// listing tells the folder's files and their sizes.
func listing(dir string) string {
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	must(err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(&b, "%10d %s\n", info.Size(), e.Name())
		}
	}
	return b.String()
}

// waitForPart waits a little until the sidecar is compressing.
func waitForPart(dir string) bool {
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if parts, _ := filepath.Glob(filepath.Join(dir, "*"+logchain.PartSuffix)); len(parts) > 0 {
			return true
		}
	}
	return false
}

// settle finishes what the killed sidecar began, and lets the writers come back
// once more, which cuts off what their last kill tore.
func settle(dir string) {
	logs, err := os.MkdirTemp("", "semantic-test-")
	must(err)
	defer os.RemoveAll(logs)
	cfg := testConfig(dir)
	cfg.Keep, cfg.RetainErrors = 1_000_000, Age(1000*day)
	s, err := New(cfg, openLog(panicking{}, logs, "sidecar"))
	must(err)
	defer s.owner.release()
	for range 2 {
		must(s.archive.pass(panicking{}.Context()))
	}
	found, err := look(dir)
	must(err)
	left := slices.DeleteFunc(found.rotated, func(f file) bool { return logchain.HoldsErrors(f.log) })
	if len(left)+len(found.parts) > 0 {
		panic(fmt.Sprintf("a pass left %+v and %+v", left, found.parts))
	}
	for _, process := range []string{"proxy", "engine"} {
		openLog(panicking{}, dir, process).Close()
	}
}

// filler fills the disk now and then, to the last byte.
type filler struct {
	times atomic.Int32
	quit  chan struct{}
	done  sync.WaitGroup
}

func newFiller(dir string) *filler {
	f := &filler{quit: make(chan struct{})}
	f.done.Go(func() {
		for f.sleep(200*time.Millisecond + rand.N(time.Second)) {
			ballast := fill(dir)
			for range 1 + rand.IntN(40) {
				if f.sleep(10 * time.Millisecond) {
					topUp(ballast)
				}
			}
			must(os.Remove(ballast))
			f.times.Add(1)
		}
	})
	return f
}

// sleep reports whether to go on.
func (f *filler) sleep(d time.Duration) bool {
	select {
	case <-f.quit:
		return false
	case <-time.After(d):
		return true
	}
}

func (f *filler) stop() {
	close(f.quit)
	f.done.Wait()
}

// topUp takes the room that others gave back meanwhile.
func topUp(ballast string) {
	f, err := os.OpenFile(ballast, os.O_WRONLY|os.O_APPEND, 0)
	must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
}
