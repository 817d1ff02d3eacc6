package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Whatever is killed, the collector or the sidecar, each acknowledged line comes to the
// collector at least once, though it is rotated, compressed and beyond what is kept
// meanwhile; and what comes twice is what was on its way at a kill, not more.
func TestEachLineComesToTheCollector(t *testing.T) {
	c := newCollector(t)
	c.start()
	dir := inMemory(t)
	shipper := &mortal{role: "shipper", args: []string{dir, c.url()}, onLine: func(string) {}}
	shipper.start()
	acked := &acks{lines: map[string]int{}}
	var writers []*mortal
	for _, process := range []string{"proxy", "engine"} {
		w := &mortal{role: "writer", args: []string{dir, process, "400"}, onLine: acked.add}
		w.start()
		writers = append(writers, w)
	}
	for i := range 6 {
		before := c.size()
		within(t, 2*time.Minute, "lines come", func() bool { return c.size() > before })
		time.Sleep(time.Duration(i) * 100 * time.Millisecond) // so that a kill falls before and after the cursor is saved
		if i%2 == 0 {
			c.kill()
			time.Sleep(500 * time.Millisecond)
		}
		shipper.kill()
		if i == 3 {
			time.Sleep(time.Second) // longer than a rotation takes
		}
		shipper.start()
		if c.cmd == nil {
			c.start()
		}
	}
	for _, w := range writers {
		w.kill()
	}
	defer shipper.kill()
	sent := acked.lines // nobody writes any more
	missing := ""
	t.Cleanup(func() {
		if t.Failed() {
			cursor, _ := os.ReadFile(filepath.Join(dir, cursorName))
			t.Logf("not there: %s\nsidecar: %s\ncollector: %s\n%s %v", missing, shipper.cmd.Stderr, c.said, cursor, names(t, dir))
		}
	})
	within(t, 2*time.Minute, "all lines are with the collector", func() bool {
		time.Sleep(500 * time.Millisecond) // the files are read whole
		missing = missingLines(c.all(), sent)
		return missing == ""
	})
	lines, twice := 0, 0
	seen := map[string]bool{}
	for _, l := range c.all() {
		key := l.Boot + " " + strconv.Itoa(l.Seq)
		if seen[key] {
			twice++
		}
		seen[key] = true
		lines++
	}
	rotations, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d lines, %d of them twice, of %d boots; %d archived files are left", lines, twice, len(sent), len(rotations))
	if twice > lines/2 {
		t.Errorf("%d of %d lines came twice: the cursor does not hold", twice, lines)
	}
}

// missingLines names the first line that is not there.
func missingLines(list []taken, sent map[string]int) string {
	seen := map[string]map[int]bool{}
	for _, l := range list {
		if seen[l.Boot] == nil {
			seen[l.Boot] = map[int]bool{}
		}
		seen[l.Boot][l.Seq] = true
	}
	for boot, n := range sent {
		for seq := 1; seq <= n; seq++ {
			if !seen[boot][seq] {
				return fmt.Sprintf("boot %s: line %d of %d", boot, seq, n)
			}
		}
	}
	return ""
}
