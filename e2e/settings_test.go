package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "semantic.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingThatIsWrongEndsTheStartAndNamesItsPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unknown := writeConfig(t, "port: 8123\n\nprot: 8124\n")
	value := writeConfig(t, "# comment\ndrain-timeout: soon\n")
	enum := writeConfig(t, "log-level: loud\n")
	twice := writeConfig(t, "port: 1\nport: 2\n")
	broken := writeConfig(t, "port: [1\n")
	for name, r := range map[string]refused{
		"unknown key":        {args: []string{"--config", unknown}, says: []string{unknown + ":3", `"prot"`, "port"}},
		"bad value in file":  {args: []string{"--config", value}, says: []string{value + ":2", `"drain-timeout"`, "soon"}},
		"bad word in file":   {args: []string{"--config", enum}, says: []string{enum + ":1", "log-level", "loud"}},
		"key twice":          {args: []string{"--config", twice}, says: []string{twice, "port"}},
		"no YAML":            {args: []string{"--config", broken}, says: []string{broken}},
		"missing file":       {args: []string{"--config", dir + "/none.yaml"}, says: []string{"none.yaml", "--config"}},
		"unknown flag":       {args: []string{"--prot", "1"}, says: []string{"--prot"}},
		"bad flag":           {args: []string{"--port", "many"}, says: []string{"--port", "many"}},
		"unknown variable":   {env: []string{"SEMANTIC_PROT=1"}, says: []string{"SEMANTIC_PROT", "SEMANTIC_PORT"}},
		"bad variable":       {env: []string{"SEMANTIC_PORT=many"}, says: []string{"many"}},
		"budgets too large":  {args: []string{"--drain-timeout", "40s", "--stop-timeout", "45s", "--persist-timeout", "10s"}, says: []string{"--stop-timeout=45s", "--drain-timeout=40s", "--persist-timeout=10s", "--drain-delay"}},
		"budgets from file":  {args: []string{"--config", writeConfig(t, "stop-timeout: 5s\n")}, says: []string{"--stop-timeout=5s"}},
		"host of the world":  {args: []string{"--host", "0.0.0.0"}, says: []string{"--host=0.0.0.0", "--allow-remote"}},
		"world without keys": {args: []string{"--host", "0.0.0.0", "--allow-remote"}, says: []string{"--allow-remote", "--insecure-no-auth"}},
		"port out of range":  {args: []string{"--port", "70000"}, says: []string{"--port=70000"}},
		"rotation too small": {args: []string{"--log-rotate-bytes", "0"}, says: []string{"--log-rotate-bytes"}},
		"batch and step":     {args: []string{"--max-batch", "0", "--step-tokens", "0"}, says: []string{"--step-tokens=0", "--max-batch=0"}},
		"log level":          {args: []string{"--log-level", "loud"}, says: []string{"--log-level", "loud"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r.args = append([]string{"serve", "--data-dir", filepath.Join(dir, "never"), "--model", model}, r.args...)
			r.status = wrong
			r.check(t)
			if _, err := os.Stat(filepath.Join(dir, "never")); !os.IsNotExist(err) {
				t.Errorf("a folder was made before the settings were checked: %v", err)
			}
		})
	}
}

// TestFlagGoesBeforeVariableGoesBeforeFile asks a pod for what it would run with.
func TestFlagGoesBeforeVariableGoesBeforeFile(t *testing.T) {
	t.Parallel()
	file := writeConfig(t, "port: 8101\ndrain-delay: 1s\nmax-batch: 3\nlog-keep: 4\n")
	p, err := run(t.TempDir(), []string{"SEMANTIC_PORT=8102", "SEMANTIC_DRAIN_DELAY=2s"},
		"serve", "--config", file, "--port", "8103", "--model", model, "--print-config")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.status(patience); err != nil || status != 0 {
		t.Fatalf("status %d, %v\n%s", status, err, p.stderr)
	}
	for _, want := range []string{
		`port: "?8103"? # flag`, `drain-delay: "?2s"? # environment SEMANTIC_DRAIN_DELAY`,
		`max-batch: "?3"? # ` + regexp.QuoteMeta(file) + `:3`, `log-keep: "?4"? # ` + regexp.QuoteMeta(file) + `:4`,
		`host: 127\.0\.0\.1 # default`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(p.stdout.String()) {
			t.Errorf("no line is %s in\n%s", want, p.stdout)
		}
	}
	again := writeConfig(t, p.stdout.String())
	q, err := run(t.TempDir(), nil, "serve", "--config", again, "--print-config")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := q.status(patience); err != nil || status != 0 || !strings.Contains(q.stdout.String(), "8103") {
		t.Errorf("what was printed is no file to start from: status %d, %v\n%s%s", status, err, q.stdout, q.stderr)
	}
}

// TestSettingsReachTheirProcess starts a pod from one file, whose settings each
// belong to another process.
func TestSettingsReachTheirProcess(t *testing.T) {
	t.Parallel()
	p := newPod(t, "--config", writeConfig(t, "max-body: 2KiB\nmodel-name: house\nlog-rotate-bytes: 4KiB\nlog-check-interval: 20ms\n"))
	if r := p.call("POST", chatPath, chat(strings.Repeat("x", 4000), 1).String()); r.status != 413 {
		t.Errorf("the proxy takes a body of 4 KB: %d %s", r.status, r.body)
	}
	if r := p.call("GET", "/v1/models", ""); !strings.Contains(r.body, `"id":"house"`) {
		t.Errorf("the engine serves %s", r.body)
	}
	for range 30 {
		p.call("GET", "/v1/models", "")
	}
	await(t, "the sidecar to rotate", func() bool {
		return parseMetrics(t, exposition(t, p.sidecar)).of(t, "semantic_log_rotations_total") > 0
	})
}

func TestHelpShowsDefaultsAndUnits(t *testing.T) {
	t.Parallel()
	p, err := run(t.TempDir(), nil, "serve", "--help")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.status(patience); err != nil || status != 0 {
		t.Fatalf("status %d, %v", status, err)
	}
	for _, want := range []string{"--port", "8000", "--stop-timeout", "45s", "--max-body", "10MiB", "$SEMANTIC_PORT", "--sidecar-listen", "127.0.0.1:8002"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("--help does not show %s", want)
		}
	}
}

func TestVersionIsTold(t *testing.T) {
	t.Parallel()
	p, err := run(t.TempDir(), nil, "version")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.status(patience); err != nil || status != 0 || !strings.HasPrefix(p.stdout.String(), "semantic ") {
		t.Errorf("status %d, %v: %s", status, err, p.stdout)
	}
}
