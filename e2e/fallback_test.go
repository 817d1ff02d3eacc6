package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMakeRunFallsBackToTheBuiltInModel runs the Makefile's own target in a folder that has no
// model, where pip finds no package: one line says so, and the pod answers.
func TestMakeRunFallsBackToTheBuiltInModel(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	for _, name := range []string{"Makefile", "CHANGELOG.md", "tools/model.sh", "bin/semantic"} {
		file, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	side, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + address(port)
	// --old-file: the binary is there already, and is not to be made of what this folder lacks.
	p, err := runBinary("make", dir, []string{"PIP_NO_INDEX=1", "PIP_FIND_LINKS=", "PIP_CONFIG_FILE=/dev/null"}, "--old-file=bin/semantic", "run",
		"ARGS=--data-dir "+dir+"/data --port "+strconv.Itoa(port)+" --sidecar-listen "+address(side)+" --drain-delay 0s")
	if err != nil {
		t.Fatalf("%v; make is missing", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) // make, its shell and the pod
		_, err := p.status(patience)
		p.kill()
		if err != nil || t.Failed() {
			t.Errorf("make run: %v\n%s\n%s", err, p.stdout, p.stderr)
		}
	})
	await(t, "the pod to be ready", func() bool { return strings.Contains(p.stdout.String(), "semantic is ready at "+url) })
	said := 0
	for line := range strings.Lines(p.stderr.String()) {
		if strings.HasPrefix(line, "make run: ") && strings.Contains(line, "cannot be fetched") && strings.Contains(line, "built-in model answers") {
			said++
		} else if strings.Contains(line, "make") || strings.Contains(line, "pip") {
			t.Errorf("says besides: %s", line)
		}
	}
	if said != 1 {
		t.Errorf("%d lines say that the built-in model answers", said)
	}
	if models := fetch(t, url+"/v1/models"); !strings.Contains(models, `"semantic-builtin"`) {
		t.Errorf("/v1/models: %s", models)
	}
}
