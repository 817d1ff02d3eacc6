package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/semantic-pod/semantic/logchain"
)

// rotated is the name of a log's nth rotated file.
func rotated(log string, n int) string {
	return fmt.Sprintf("%s.20260102T030405.00000000%dZ", log, n)
}

// Where the file in which sending stopped is gone, it goes on with the one after it,
// whatever that is: told in the log, and held up by nothing.
func TestSendingGoesOnAfterAGap(t *testing.T) {
	for _, next := range []string{rotated("proxy.log", 2), rotated("proxy.log", 2) + logchain.ArchiveSuffix, "proxy.log"} {
		for _, text := range []string{"b\nc\n", strings.Repeat("long ", firstLine/2) + "\nc\n", ""} {
			r := newReceiver(t)
			cfg := testConfig(t.TempDir())
			cfg.ShipOTLP = r.URL
			c := &cursor{dir: cfg.LogDir, logs: map[string]position{"proxy.log": {After: strings.TrimPrefix(rotated("proxy.log", 0), "proxy.log."), First: hashLine([]byte("a\n")), Offset: 2}}, dirty: true}
			must(c.save())
			content := text
			if strings.HasSuffix(next, logchain.ArchiveSuffix) {
				enc, err := zstd.NewWriter(nil)
				must(err)
				content = string(enc.EncodeAll([]byte(text), nil))
			}
			write(t, cfg.LogDir, next, content)
			if next != "proxy.log" {
				write(t, cfg.LogDir, "proxy.log", "d\n")
			}
			want := strings.Fields(strings.ReplaceAll(text, " ", "_"))
			if next != "proxy.log" {
				want = append(want, "d")
			}
			s := startTest(t, cfg)
			within(t, time.Minute, fmt.Sprintf("all of %s comes after a gap", next), func() bool {
				return strings.Join(strings.Fields(strings.ReplaceAll(strings.Join(r.list(), "\n"), " ", "_")), " ") == strings.Join(want, " ")
			})
			stop(t, s)
		}
	}
}

// An archive that is cut short is told, and what is before the cut is sent: its end is
// not taken for that of the log.
func TestCutArchiveIsTold(t *testing.T) {
	r := newReceiver(t)
	cfg := testConfig(t.TempDir())
	cfg.ShipOTLP = r.URL
	enc, err := zstd.NewWriter(nil)
	must(err)
	whole := enc.EncodeAll([]byte("a\nb\n"), nil)
	whole = append(whole, enc.EncodeAll([]byte(incompressible(64<<10)), nil)...)
	name := rotated("proxy.log", 1) + logchain.ArchiveSuffix
	write(t, cfg.LogDir, name, string(whole[:len(whole)-1000]))
	write(t, cfg.LogDir, "proxy.log", "d\n")
	s := startTest(t, cfg)
	dutySays(t, s, "log_ship_otlp", name)
	eventually(t, "its beginning is sent", func() bool { return strings.HasPrefix(r.taken(), "a b") })
	if strings.HasSuffix(r.taken(), " d") {
		t.Error("the next log was sent as if this one had ended")
	}
	must(os.Remove(filepath.Join(cfg.LogDir, name)))
	within(t, time.Minute, "without it the next one is sent", func() bool { return strings.HasSuffix(r.taken(), " d") })
}

// Retention may have a file once the cursor on the disk is behind it: a sidecar that is
// killed finds the file in which it stopped.
func TestRetentionWaitsForTheCursorOnTheDisk(t *testing.T) {
	r := newReceiver(t)
	cfg := testConfig(inMemory(t))
	cfg.ShipOTLP = r.URL
	for i := range 9 {
		write(t, cfg.LogDir, rotated("proxy.log", i), "a\n")
	}
	s := newTestArchiver(t, cfg)
	defer s.lines.closeTails()
	for more := true; more; {
		var err error
		if more, err = s.lines.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := look(cfg.LogDir)
		must(err)
		kept, err := readCursor(cfg.LogDir)
		must(err)
		for _, f := range found.rotated {
			if s.lines.sent(f) && kept.logs[f.log].After < f.stamp {
				t.Fatalf("%s may go, and the cursor is at %+v", f.name(), kept.logs)
			}
		}
	}
	found, err := look(cfg.LogDir)
	must(err)
	for _, f := range found.rotated {
		if !s.lines.sent(f) {
			t.Errorf("%s may never go", f.name())
		}
	}
}
