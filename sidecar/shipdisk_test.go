package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// Lines that a full disk did not take are counted by their writer; each one that it took
// comes to the receiver, though the cursor cannot be kept and the sidecar is killed
// meanwhile; and once the cursor is kept nothing comes again.
func TestFullDiskLosesNoLineOnItsWay(t *testing.T) {
	if out := inOwnMounts(t, "ship on full disk", t.TempDir()); string(out) != "ok\n" {
		t.Fatalf("%s", out)
	}
}

func playFullDiskShipping(dir string) {
	mountSmall(dir, "8m")
	must(os.Setenv(receiverHeaders, "authorization=Bearer%20s%2Ct"))
	r := serveReceiver()
	shipper := &mortal{role: "shipper", args: []string{dir, r.URL}, onLine: func(string) {}}
	shipper.start()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "proxy", Dir: dir})
	must(err)
	n := 0
	say := func(lines int) {
		for range lines {
			n++
			log.Zap().Info(strconv.Itoa(n) + " " + padding)
		}
	}
	say(100)
	within(panicking{}, time.Minute, "the first lines come", func() bool { return len(r.list()) >= 100 })

	away := func(w http.ResponseWriter, _ []string) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	}
	r.answer.Store(&away)
	ballast := fill(dir)
	info, err := os.Stat(ballast)
	must(err)
	must(os.Truncate(ballast, info.Size()-1<<20))
	for log.Dropped() == 0 {
		say(2000)
	}
	topUp(ballast)
	r.answer.Store(nil)
	for range 3 {
		before := len(r.list())
		within(panicking{}, time.Minute, "lines come from a full disk", func() bool { return len(r.list()) > before })
		shipper.kill()
		topUp(ballast)
		if text, err := os.ReadFile(filepath.Join(dir, cursorName)); err == nil {
			_, err = readCursor(dir)
			if err != nil {
				panic(fmt.Sprintf("%v: %q", err, text))
			}
		}
		say(10)
		shipper.start()
	}
	must(os.Remove(ballast))
	must(log.Sync())
	say(1)
	must(log.Close())
	accepted := n - int(log.Dropped())
	within(panicking{}, time.Minute, "all lines come", func() bool { return len(distinct(r.list())) == accepted })
	shipper.kill()
	checkLines(distinct(r.list()), n)

	for range 2 {
		shipOnce(dir, r)
	}
	total := len(r.list())
	shipOnce(dir, r)
	if again := len(r.list()) - total; again > 0 || len(distinct(r.list())) != accepted {
		panic(fmt.Sprintf("%d lines came again, %d in all of %d", again, len(distinct(r.list())), accepted))
	}
	fmt.Println("ok")
	os.Exit(0)
}

// distinct lists each body once, where it came first.
func distinct(bodies []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(bodies, func(body string) bool {
		was := seen[body]
		seen[body] = true
		return was
	})
}

// checkLines makes sure that they are in order, from the first to the last.
func checkLines(bodies []string, last int) {
	before := 0
	for _, body := range bodies {
		number, pad, _ := strings.Cut(body, " ")
		n, err := strconv.Atoi(number)
		must(err)
		if n <= before || pad != padding {
			panic(fmt.Sprintf("%q after line %d", body, before))
		}
		before = n
	}
	if before != last {
		panic(fmt.Sprintf("the last line is %d, not %d", before, last))
	}
}

// shipOnce runs a sidecar until nothing is left to send, and ends it in order.
func shipOnce(dir string, r *receiver) {
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar"}) // to nowhere
	must(err)
	cfg := testConfig(dir)
	cfg.ShipOTLP = r.URL
	s, err := New(cfg, log)
	must(err)
	must(s.Start())
	within(panicking{}, time.Minute, "nothing is left to send", func() bool {
		state := s.lines.duty.state(time.Now())
		return state.Error == "" && !state.Never && s.lines.lag() == 0
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(s.Stop(ctx))
}
