package sidecar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// Whichever call to the file system fails, once or for a while, in a rotation, an
// archiving, a shipping to a store and to a receiver, or a removal: afterwards the same
// sidecar finishes all of it, and nothing is lost or twice. Of the some 350 calls each
// run tries others; `make soak-logs` tries all.
func TestNoPassingFileSystemErrorEndsIt(t *testing.T) { sweepFaults(t, 15) }

func sweepFaults(t *testing.T, step int) {
	t.Helper()
	out := string(inOwnMounts(t, "faults", inMemory(t), strconv.Itoa(step)))
	if !strings.HasSuffix(out, "ok\n") {
		t.Fatal(out)
	}
	t.Log(out)
}

func playFaults(base, every string) {
	step, err := strconv.Atoi(every)
	must(err)
	must(os.Setenv(receiverHeaders, "authorization=Bearer%20s%2Ct"))
	in := newInjector(base)
	kinds := []unix.Errno{unix.EIO, unix.ENOSPC, unix.EACCES}
	seen := map[string]int{}
	for n, calls := 1+rand.IntN(step), 1; n <= max(calls, 2*step); n += step {
		onward := rand.IntN(5) == 0
		failed, all := faultTrial(in, filepath.Join(base, strconv.Itoa(n)), n, onward, kinds[rand.IntN(len(kinds))])
		if !onward {
			calls = max(calls, all)
		}
		what, _, _ := strings.Cut(failed, " ")
		seen[what]++
	}
	for _, what := range []string{"open", "unlink", "rename", "fsync", "flock", "ftruncate", "getdents"} {
		if seen[what] == 0 && step == 1 {
			panic("no " + what + " was made to fail")
		}
	}
	delete(seen, "") // of the longest cycles, which others do not reach
	if len(seen) == 0 {
		panic("nothing was made to fail")
	}
	fmt.Printf("made to fail: %v\nok\n", seen)
	os.Exit(0)
}

// faultFolder has what makes a cycle go through all of its steps, and says which lines,
// and which error lines, it has.
func faultFolder(dir string) (lines, errorLines []string) {
	n := 0
	for _, name := range []string{rotated("proxy.log", 0), rotated("proxy.log", 1), rotated("proxy.log", 2), "proxy.log", rotated("engine.log", 3)} {
		var text strings.Builder
		boot := "0123456789abcdef"
		if strings.HasPrefix(name, "engine") {
			boot = "fedcba9876543210"
		}
		for i := range 4 {
			n++
			level := "info"
			if i == 2 {
				level = "error"
			}
			line := fmt.Sprintf(`{"ts":"2026-01-02T03:04:05.%09dZ","boot":"%s","seq":%d,"level":"%s","msg":"%d"}`, n, boot, n, level, n)
			text.WriteString(line + "\n")
			lines = append(lines, fmt.Sprint(n))
			if i == 2 {
				errorLines = append(errorLines, line)
			}
		}
		must(os.WriteFile(filepath.Join(dir, name), []byte(text.String()), 0o600))
	}
	return lines, errorLines
}

// faultTrial has the nth call of a cycle fail, lets the sidecar go on, and looks at what
// came of it.
func faultTrial(in *injector, base string, n int, onward bool, errno unix.Errno) (failed string, calls int) {
	dir, store := filepath.Join(base, "logs"), filepath.Join(base, "store")
	must(os.MkdirAll(dir, 0o700))
	must(os.MkdirAll(store, 0o700))
	r := serveReceiver()
	defer r.Close()
	lines, errorLines := faultFolder(dir)
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar"}) // to nowhere
	must(err)
	cfg := testConfig(dir)
	cfg.RotateBytes, cfg.Keep, cfg.RetainErrors = 100, 1, Age(36_500*day)
	cfg.ShipOTLP, cfg.ShipTo = r.URL, "file://"+store+"?no_tmp_dir=true&metadata=skip"
	s, err := New(cfg, log)
	must(err)
	defer func() {
		s.lines.closeTails()
		s.lines.client.Close()
		must(s.ledger.close())
		must(s.owner.release())
		must(log.Close())
		must(os.RemoveAll(base))
	}()
	in.arm(n, onward, errno)
	for range 2 {
		_ = faultCycle(s) // its error is what is tried
	}
	failed, calls = in.disarm()
	when := fmt.Sprintf("after %v in call %d (%s, onward %v)", errno, n, failed, onward)
	for range 4 {
		clear(s.archive.attempts) // no wait before the next try
		err = faultCycle(s)
	}
	if err != nil {
		panic(fmt.Sprintf("%s it does not go on: %v\n%s", when, err, listing(dir)))
	}
	checkFaultFolder(dir, store, r, lines, errorLines, when)
	return failed, calls
}

// faultCycle does what the sidecar's loops do, one after the other.
func faultCycle(s *Sidecar) error {
	ctx := context.Background()
	errs := []error{s.rotator.check(time.Now()), s.archive.pass(ctx), s.ship.pass(ctx)}
	for more := true; more; {
		var err error
		more, err = s.lines.pass(ctx)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.archive.pass(ctx))...)
}

func checkFaultFolder(dir, store string, r *receiver, lines, errorLines []string, when string) {
	got := distinct(r.list())
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		panic(fmt.Sprintf("%s the receiver has %q", when, got))
	}
	found, err := look(dir)
	must(err)
	kept := ""
	for _, f := range append(found.rotated, found.archive...) {
		if logchain.HoldsErrors(f.log) {
			kept += read(panicking{}, f.path)
		}
	}
	list := strings.Split(strings.TrimSuffix(kept, "\n"), "\n")
	slices.Sort(list)
	slices.Sort(errorLines)
	if !slices.Equal(list, errorLines) {
		panic(fmt.Sprintf("%s the error lines are\n%s", when, kept))
	}
	rest := slices.DeleteFunc(found.rotated, func(f file) bool { return logchain.HoldsErrors(f.log) })
	if len(rest)+len(found.parts)+len(found.active) > 0 {
		panic(fmt.Sprintf("%s this is left:\n%s", when, listing(dir)))
	}
	proof, err := logchain.Verify(context.Background(), dir, logchain.Expect{})
	must(err)
	if len(proof.Faults)+len(proof.Notices) > 0 || proof.Removed != 3 {
		panic(fmt.Sprintf("%s the manifest proves %+v", when, proof))
	}
	copies, err := filepath.Glob(filepath.Join(store, "*", "*.zst"))
	must(err)
	said := ""
	for _, path := range copies {
		if strings.Contains(path, "errors.log") {
			continue // those that were archived early
		}
		said += read(panicking{}, path)
	}
	if strings.Count(said, "\n") != len(lines) {
		panic(fmt.Sprintf("%s the store has %q", when, copies))
	}
}
