package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The unit is read by systemd without a complaint, is hardened by systemd's own
// reckoning, and leaves the pod the time that it takes to stop.
func TestShippedUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatalf("%v; run: make test-setup", err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy/systemd/semantic.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "semantic.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/semantic", semantic)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// Of 10; the threshold is in tenths.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, tail(string(out), 2000))
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`).FindSubmatch(text)
	if stop == nil {
		t.Fatal("no TimeoutStopSec=")
	}
	given, err := time.ParseDuration(string(stop[1]))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := run(t.TempDir(), nil, "serve", "--model", model, "--print-config")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := printed.status(patience); err != nil {
		t.Fatal(err)
	}
	needed := regexp.MustCompile(`(?m)^stop-timeout: (\S+)`).FindStringSubmatch(printed.stdout.String())
	if needed == nil {
		t.Fatalf("no stop-timeout in\n%s", printed.stdout)
	}
	if takes, err := time.ParseDuration(needed[1]); err != nil || given <= takes {
		t.Errorf("TimeoutStopSec=%s, --stop-timeout=%s, %v", given, takes, err)
	}
}
