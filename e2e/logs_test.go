package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// line is one line of a log.
type line map[string]any

func (l line) str(key string) string {
	s, _ := l[key].(string)
	return s
}

func (l line) num(key string) float64 {
	n, _ := l[key].(float64)
	return n
}

// readLogs reads a process's log: what was rotated first, compressed or not, then
// what is being written.
func readLogs(dir, process string) ([]line, error) {
	paths, err := filepath.Glob(filepath.Join(dir, process+".log*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths) // the stamps in the names rise; the active one has none and is first
	if len(paths) > 0 && strings.HasSuffix(paths[0], ".log") {
		paths = append(paths[1:], paths[0])
	}
	var all []line
	for _, path := range paths {
		if strings.HasSuffix(path, ".part") {
			continue
		}
		lines, err := readLog(path)
		all = append(all, lines...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func readLog(path string) ([]line, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	var lines []line
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return lines, fmt.Errorf("%s: %q is no line of JSON: %w", path, scan.Text(), err)
		}
		lines = append(lines, l)
	}
	return lines, scan.Err()
}

func mustReadLogs(t *testing.T, dir, process string) []line {
	t.Helper()
	lines, err := readLogs(dir, process)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// ofRequest picks the access lines by the id of their request.
func ofRequest(lines []line) map[string][]line {
	byID := map[string][]line{}
	for _, l := range lines {
		if l.str("msg") == "request" {
			byID[l.str("request_id")] = append(byID[l.str("request_id")], l)
		}
	}
	return byID
}

// checkSequence holds the lines to the writer's own count: from one on in each
// boot, without a gap, a double or a step back.
func checkSequence(t *testing.T, process string, lines []line) {
	t.Helper()
	next := map[string]float64{}
	for _, l := range lines {
		boot := l.str("boot")
		if want := next[boot] + 1; l.num("seq") != want {
			t.Fatalf("%s.log: line %v comes where %v of its boot should: %v", process, l.num("seq"), want, l)
		}
		next[boot]++
	}
}
