package telemetry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// roleVariable makes the test binary play another process.
const roleVariable = "SEMANTIC_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "hold":
		holdLog()
	case "full disk":
		fillDisk()
	}
}

// role returns the test binary as another process; args follow its name.
func role(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

func openTest(t testing.TB, cfg LogConfig) (*Log, string) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Process = "proxy"
	l, err := OpenLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, filepath.Join(cfg.Dir, "proxy.log")
}

// line is what the tests look at in a log line.
type line struct {
	TS      string `json:"ts"`
	Boot    string `json:"boot"`
	Seq     uint64 `json:"seq"`
	Level   string `json:"level"`
	Msg     string `json:"msg"`
	Process string `json:"process"`
	N       int    `json:"n"`
}

// readLines reads a log file and fails on anything that is not whole lines of JSON.
func readLines(t testing.TB, path string) []line {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseLines(t, path, string(data))
}

func parseLines(t testing.TB, path, data string) []line {
	t.Helper()
	var lines []line
	for text := range strings.Lines(data) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || !strings.HasSuffix(text, "\n") {
			t.Fatalf("%s: line %d is not whole: %q (%v)", path, len(lines)+1, text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func syncLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what must come true within two seconds.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two seconds: %s", what)
		}
	}
}

// holdLog opens the log in os.Args[1], says so, and holds it until stdin ends.
func holdLog() {
	l, err := OpenLog(LogConfig{Process: "proxy", Dir: os.Args[1]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer l.Close()
	fmt.Println("held")
	bufio.NewReader(os.Stdin).ReadString('\n')
}
