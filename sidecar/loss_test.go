package sidecar

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// The whole point of the protocol: two writers log, a sidecar rotates and compresses
// as fast as it can on a disk that is full now and then, any of them is killed at
// any moment, clocks step back and forth; and every line that a writer acknowledged
// is there once, whole and in order, each error line once more, and the manifest
// proves every file. `make soak-logs` is the long form.
func TestNoAcknowledgedLineIsLostDoubledOrTorn(t *testing.T) {
	o := trial{
		Disk: "48m", RotateBytes: 128 << 10, Rotations: 60, Kills: 24, Fulls: 4,
		Pause: 500 * time.Millisecond, Limit: 3 * time.Minute, // 8 s on an idle machine
	}.run(t)
	t.Log(o)
}

// padding makes lines as long as an access line.
const padding = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// errorEvery is how many lines have one of level error among them: at 100,000 lines a
// second so few errors that none is left out as a repetition.
const errorEvery = 4999

// stepping is a clock that is set back and forth.
type stepping struct{ offset atomic.Int64 }

func (c *stepping) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *stepping) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

func (c *stepping) step() {
	for {
		c.offset.Store(int64(rand.N(60*time.Hour) - 30*time.Hour))
		time.Sleep(100 * time.Millisecond)
	}
}

// playWriter logs numbered lines and says on stdout up to which number they are
// acknowledged, until it is killed.
func playWriter(dir, process, rate string) {
	perSecond, err := strconv.Atoi(rate)
	must(err)
	var log *telemetry.Log
	for log, err = nil, os.ErrInvalid; err != nil; { // the disk may be full
		log, err = telemetry.OpenLog(telemetry.LogConfig{Process: process, Dir: dir})
	}
	clock := new(stepping)
	go clock.step()
	logger := log.Zap().WithOptions(zap.WithClock(clock))
	pad := zap.String("padding", padding)
	start := time.Now()
	for n := 0; ; {
		waitForHalf(dir)
		batch := 20 + rand.IntN(60)
		if perSecond > 0 {
			batch = perSecond / 200
		}
		for range batch {
			if n%errorEvery == 0 {
				logger.Error("line", zap.Int("n", n), pad)
			} else {
				logger.Info("line", zap.Int("n", n), pad)
			}
			n++
		}
		for err := os.ErrInvalid; err != nil; { // the disk may be full
			err = log.Sync()
		}
		if _, err := fmt.Printf("%s %d\n", log.Boot(), n); err != nil {
			return
		}
		if perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(perSecond))))
		} else {
			time.Sleep(rand.N(2 * time.Millisecond))
		}
	}
}

// waitForHalf waits until the logs leave half of the disk free: a disk that they alone
// have filled has no room to compress any of them, and stays full. While the trial's
// ballast fills it, they run into its end.
func waitForHalf(dir string) {
	for ; ; time.Sleep(2 * time.Millisecond) {
		var disk syscall.Statfs_t
		must(syscall.Statfs(dir, &disk))
		if disk.Bavail >= disk.Blocks/2 {
			return
		}
		if _, err := os.Stat(filepath.Join(dir, ballastName)); err == nil {
			return
		}
	}
}

// playSidecar rotates as soon as the writers have followed the last rotation.
func playSidecar(dir, rotateBytes string) {
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Stderr: os.Stderr, Level: "error"})
	must(err)
	cfg := testConfig(dir)
	size, err := strconv.ParseInt(rotateBytes, 10, 64)
	must(err)
	cfg.RotateBytes, cfg.Keep, cfg.RetainErrors, cfg.CheckInterval = config.Size(size), 1_000_000, Age(1000*day), minCheckInterval
	s, err := New(cfg, log)
	must(err)
	clock := new(stepping)
	go clock.step()
	s.rotator.now, s.archive.now = clock.Now, clock.Now
	must(s.Start())
	select {}
}

// checker reads a folder's files as they are archived, in their order, and removes
// them, so that a small disk is enough.
type checker struct {
	dir     string
	before  folder                    // of the look before this one
	gone    map[string]bool           // by name; read and removed
	next    map[string]map[string]int // by log and boot: the number that is due
	errors  map[string]bool           // error lines of archived files
	lines   int
	boots   int
	entries int
}

func newChecker(dir string) *checker {
	return &checker{dir: dir, gone: map[string]bool{}, next: map[string]map[string]int{"proxy.log": {}, "engine.log": {}}, errors: map[string]bool{}}
}

func (c *checker) rotations() int {
	found, err := look(c.dir)
	must(err)
	return len(c.gone) + len(found.rotated) + len(found.archive) - len(found.both())
}

// consume reads what is archived. A file is read when all before it were: what one
// look missed because it was renamed meanwhile, the other one saw.
func (c *checker) consume() {
	found, err := look(c.dir)
	must(err)
	blocked := map[string]string{} // by log: the stamp of the oldest file that is not archived
	for _, list := range [][]file{c.before.rotated, found.rotated} {
		for _, f := range list {
			if b := blocked[f.log]; b == "" || f.stamp < b {
				blocked[f.log] = f.stamp
			}
		}
	}
	known := map[string]bool{}
	for _, f := range c.before.archive {
		known[f.name()] = true
	}
	for _, f := range found.archive {
		if b := blocked[f.log]; logchain.HoldsErrors(f.log) || b != "" && f.stamp >= b {
			continue
		}
		if !known[f.name()] {
			blocked[f.log] = f.stamp // the next time
			continue
		}
		c.read(f, true)
		must(os.Remove(f.path))
		c.gone[f.name()] = true
	}
	c.before = found
}

// read checks one file's lines.
func (c *checker) read(f file, archived bool) {
	next := c.next[f.log]
	process := strings.TrimSuffix(f.log, logchain.ActiveSuffix)
	for text := range bytes.Lines([]byte(read(panicking{}, f.path))) {
		boot, n, isError := parseNumbered(f.path, process, text)
		if n != next[boot] {
			panic(fmt.Sprintf("%s: boot %s has line %d where %d is due", f.name(), boot, n, next[boot]))
		}
		next[boot]++
		if isError && archived {
			c.errors[string(text)] = true
		}
	}
}

// parseNumbered takes a line of playWriter's apart. What is not exactly such a line
// was torn or mixed up.
func parseNumbered(path, process string, text []byte) (boot string, n int, isError bool) {
	l, ok := logchain.ParseLine(text)
	level := string(l.Level)
	n = int(l.Seq) - 1
	tail := fmt.Appendf(nil, `"level":"%s","msg":"line","process":"%s","n":%d,"padding":"%s"}`+"\n", level, process, n, padding)
	if !ok || !bytes.HasSuffix(text, tail) || len(text)-len(tail) != bytes.IndexByte(text, 'l')-1 || (level == "error") != (n%errorEvery == 0) {
		panic(fmt.Sprintf("%s: no whole line: %q", filepath.Base(path), text))
	}
	return string(l.Boot), n, level == "error"
}

// finish checks the rest, the error lines and the manifest.
func (c *checker) finish(acked map[string]int) {
	c.consume()
	c.consume()
	found, err := look(c.dir)
	must(err)
	for _, f := range found.active {
		c.read(f, false)
	}
	c.boots = len(acked)
	for log, boots := range c.next {
		for boot, n := range boots {
			if n < acked[boot] {
				panic(fmt.Sprintf("%s, boot %s: %d lines are there, %d were acknowledged", log, boot, n, acked[boot]))
			}
			delete(acked, boot)
			c.lines += n
		}
	}
	for boot, n := range acked {
		panic(fmt.Sprintf("boot %s: none of %d acknowledged lines is there", boot, n))
	}
	c.checkErrors(found)
	c.checkManifest()
}

func (c *checker) checkErrors(found folder) {
	copied := map[string]bool{}
	for _, f := range append(found.rotated, found.archive...) {
		if !logchain.HoldsErrors(f.log) {
			panic("not archived: " + f.name())
		}
		for text := range strings.Lines(read(panicking{}, f.path)) {
			if copied[text] || !c.errors[text] {
				panic(fmt.Sprintf("%s: copied twice or from nowhere: %q", f.name(), text))
			}
			copied[text] = true
		}
	}
	if len(copied) != len(c.errors) {
		panic(fmt.Sprintf("%d error lines were copied of %d", len(copied), len(c.errors)))
	}
}

// checkManifest holds the manifest against the files, those that are there and those
// that were read and removed.
func (c *checker) checkManifest() {
	r, err := logchain.Verify(panicking{}.Context(), c.dir, logchain.Expect{})
	must(err)
	for _, f := range r.Faults {
		if !strings.HasPrefix(f.What, "removed: it is not in the folder") || !c.gone[f.Name] {
			panic(f.String())
		}
		delete(c.gone, f.Name)
	}
	if len(c.gone) > 0 {
		panic(fmt.Sprintf("not in the manifest: %v", c.gone))
	}
	if len(r.Notices) > 0 {
		panic(strings.Join(r.Notices, "\n"))
	}
	c.entries = int(r.Head.Count)
}
