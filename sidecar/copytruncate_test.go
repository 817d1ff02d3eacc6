package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/logchain"
)

// copyOutcome is what a rotation by copying and truncating did to the same writers'
// lines.
type copyOutcome struct {
	Lines, Lost, Doubled, Torn, Rotations int
	Took                                  time.Duration
}

func (o copyOutcome) String() string {
	return fmt.Sprintf("logrotate's copytruncate: of %d acknowledged lines %d lost, %d doubled, %d torn through %d rotations in %s",
		o.Lines, o.Lost, o.Doubled, o.Torn, o.Rotations, o.Took.Round(time.Second))
}

// The other way to rotate a file that somebody else writes: what comes between the
// copy's end and the truncation is gone. Each rotation has the chance, so they go on
// until one took it.
func TestCopyTruncateLosesLines(t *testing.T) {
	const flatOut = 1_000_000
	o := runCopyTruncate(t, flatOut, 10)
	for more := 0; o.Lost == 0 && more < 10; more++ {
		o = runCopyTruncate(t, flatOut, 20)
	}
	t.Log(o)
	if o.Lost == 0 {
		t.Error("nothing was lost in over 200 rotations: the harness sees no loss, or logrotate has changed")
	}
}

// runCopyTruncate lets logrotate rotate what two writers write at that rate each.
func runCopyTruncate(t *testing.T, rate, rotations int) copyOutcome {
	t.Helper()
	dir, conf := inMemory(t), filepath.Join(t.TempDir(), "logrotate.conf")
	write(t, filepath.Dir(conf), filepath.Base(conf), dir+"/*.log {\n\tcopytruncate\n\trotate 300\n\tnocompress\n}\n")
	acked := &acks{lines: map[string]int{}}
	start := time.Now()
	var writers []*mortal
	for _, process := range []string{"proxy", "engine"} {
		w := &mortal{role: "writer", args: []string{dir, process, strconv.Itoa(rate)}, onLine: acked.add}
		w.start()
		writers = append(writers, w)
	}
	eventually(t, "both write", func() bool {
		acked.mu.Lock()
		defer acked.mu.Unlock()
		return len(acked.lines) == len(writers)
	})
	for range rotations {
		time.Sleep(20 * time.Millisecond)
		runLogrotate(t, conf)
	}
	for _, w := range writers {
		w.kill()
	}
	o := countCopies(t, dir, acked.lines)
	o.Rotations, o.Took = rotations, time.Since(start)
	return o
}

func runLogrotate(t *testing.T, conf string) {
	t.Helper()
	path, err := exec.LookPath("logrotate")
	if err != nil {
		path = "/usr/sbin/logrotate" // where Debian has it, and not everybody's PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(`logrotate is missing (Debian package logrotate): run "make test-setup"`)
	}
	if out, err := exec.Command(path, "--force", "--state", conf+".state", conf).CombinedOutput(); err != nil {
		t.Fatalf("logrotate: %v\n%s", err, out)
	}
}

// countCopies counts the lines of all files, of those up to which the writers had
// acknowledged theirs.
func countCopies(t *testing.T, dir string, acked map[string]int) copyOutcome {
	t.Helper()
	var o copyOutcome
	seen := map[string][]bool{}
	for boot, n := range acked {
		seen[boot] = make([]bool, n)
		o.Lines += n
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.log*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(data) {
			l, ok := logchain.ParseLine(text)
			numbers := seen[string(l.Boot)]
			switch n := int(l.Seq) - 1; {
			case !bytes.HasSuffix(text, []byte("\n")) && strings.HasSuffix(path, logchain.ActiveSuffix): // torn by the kill
			case !ok || numbers == nil || !strings.HasSuffix(string(text), padding+"\"}\n"):
				o.Torn++
			case n >= len(numbers): // since
			case numbers[n]:
				o.Doubled++
			default:
				numbers[n] = true
			}
		}
	}
	for _, numbers := range seen {
		for _, there := range numbers {
			if !there {
				o.Lost++
			}
		}
	}
	return o
}
