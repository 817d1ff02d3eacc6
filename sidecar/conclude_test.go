package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// When the pod has stopped, its last lines are archived, listed and shipped, the
// sidecar's own among them; a log that is still written is left alone.
func TestLastLinesOfAStoppedPodAreInTheManifest(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	cfg := testConfig(dir)
	cfg.RotateOnStop, cfg.ShipTo = true, "file://"+store
	gone, stays := openLog(t, dir, "proxy"), openLog(t, dir, "serve")
	own, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, own)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	logNumbered(t, gone, 0, 10)
	logNumbered(t, stays, 0, 10)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}

	var said strings.Builder
	last, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Format: "json", Stderr: &said})
	if err != nil {
		t.Fatal(err)
	}
	if err := Conclude(context.Background(), cfg, last); err != nil {
		t.Error(err)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.archive) != 2 || len(found.rotated)+len(found.parts) != 0 || len(found.active) != 1 || found.active[0].log != "serve.log" {
		t.Fatalf("the folder has %q", names(t, dir))
	}
	for i, want := range []string{`"n":9}`, `"msg":"sidecar stopped"`} {
		if text := read(t, found.archive[i].path); !strings.Contains(text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:], want) {
			t.Errorf("%s does not end with %s:\n%s", found.archive[i].name(), want, text)
		}
		shipped, err := filepath.Glob(filepath.Join(store, "*", found.archive[i].name()))
		if err != nil || len(shipped) != 1 {
			t.Errorf("%s was not shipped: %q, %v", found.archive[i].name(), shipped, err)
		}
	}
	m, err := logchain.Open(filepath.Join(dir, logchain.FileName), nil, s.rotator.now())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, f := range found.archive {
		if _, listed := m.File(f.name()); !listed || !m.IsShipped(f.name()) {
			t.Errorf("the manifest does not list %s as shipped", f.name())
		}
	}
	if head := m.Head().String(); !strings.Contains(said.String(), head) {
		t.Errorf("the head %s was not told outside of the volume:\n%s", head, &said)
	}
}

func TestLogsAreLeftAloneAtTheStopUnlessAskedFor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "proxy.log"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Conclude(context.Background(), testConfig(dir), nil); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder has %q", got)
	}
}
