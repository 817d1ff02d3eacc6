package main

import (
	"bytes"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/sbom"
)

// buildBinary builds the program as it is: a test's own record of its build also names the
// modules that only tests link.
func buildBinary(t *testing.T) (string, *debug.BuildInfo) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "semantic")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return binary, info
}

// TestSBOMIsWhatTheBinaryRecords holds the modules in the SBOM that the binary prints, in
// both of CycloneDX's forms, against the record that the Go linker left in it.
func TestSBOMIsWhatTheBinaryRecords(t *testing.T) {
	binary, info := buildBinary(t)
	want := map[string]bool{"std@" + strings.TrimPrefix(info.GoVersion, "go"): true}
	for _, m := range info.Deps {
		want[m.Path+"@"+m.Version] = true
	}
	for _, format := range []string{"json", "xml"} {
		out, err := exec.Command(binary, "sbom", "show", "--format", format).Output()
		if err != nil {
			t.Fatal(err)
		}
		bom, err := sbom.Decode(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]bool{}
		for _, c := range *bom.Components {
			if sbom.IsModule(&c) {
				listed[c.Name+"@"+c.Version] = true
			}
		}
		for m := range want {
			if !listed[m] {
				t.Errorf("%s: %s is linked and not listed", format, m)
			}
		}
		for m := range listed {
			if !want[m] {
				t.Errorf("%s: %s is listed and not linked", format, m)
			}
		}
	}
	out, err := exec.Command(binary, "sbom", "verify").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "proved: ") || !strings.Contains(string(out), "its built-in model is the SBOM's") {
		t.Errorf("semantic sbom verify: %v\n%s", err, out)
	}
}

func TestAffectedAnswersWithItsExitStatus(t *testing.T) {
	linked, preact := sbom.Linked{}, ""
	bom, _, err := ownSBOM()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range *bom.Components {
		if c.Name == "github.com/valyala/fasthttp" {
			linked = sbom.Linked{Path: c.Name, Version: c.Version}
		}
		if c.Name == "preact" {
			preact = c.PackageURL
		}
	}
	at := "pkg:golang/" + linked.Path
	for _, c := range []struct {
		purl   string
		status int
		stdout string
		stderr string
	}{
		{at, statusFailure, "yes: " + linked.Path + " " + linked.Version, "this binary holds"},
		{at + "@" + linked.Version, statusFailure, "yes: ", "this binary holds"},
		{at + "@" + strings.TrimPrefix(linked.Version, "v"), statusFailure, "yes: ", "this binary holds"},
		{at + "@v0.0.1", statusOK, "no: ", ""},
		{"pkg:golang/example.org/nobody", statusOK, "no: ", ""},
		{"fasthttp", statusUsage, "", "is no package URL"},
		{preact, statusFailure, "yes: preact ", "this binary holds"},
		{"pkg:npm/preact", statusFailure, "yes: preact ", "this binary holds"},
		{"pkg:npm/preact@0.0.1", statusOK, "no: ", ""},
		{"pkg:npm/left-pad@1.3.0", statusOK, "no: ", ""},
		{"pkg:generic/semantic-builtin", statusFailure, "yes: semantic-builtin ", "this binary holds"},
		{"pkg:cargo/serde@1.0.0", statusUsage, "", "names a package of type cargo"},
		{"", statusUsage, "", "is no package URL"},
	} {
		var stdout, stderr bytes.Buffer
		status := run([]string{"sbom", "affected", c.purl}, &stdout, &stderr)
		if status != c.status || !strings.HasPrefix(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) ||
			(c.stdout == "") != (stdout.Len() == 0) || (c.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("affected %q: status %d, expected %d\n%s%s", c.purl, status, c.status, stdout.String(), stderr.String())
		}
	}
}

// TestBuiltinModelIsThatOfTheSBOM holds the model that is really embedded against the list.
func TestBuiltinModelIsThatOfTheSBOM(t *testing.T) {
	bom, _, err := ownSBOM()
	if err != nil {
		t.Fatal(err)
	}
	if diff := sbom.CompareBuiltin(bom, builtin.File); diff != "" {
		t.Errorf("%s; run: make notice", diff)
	}
	changed := slices.Clone(builtin.File)
	changed[len(changed)/2] ^= 1
	if diff := sbom.CompareBuiltin(bom, changed); !strings.Contains(diff, "the SBOM says") {
		t.Errorf("another model was taken: %q", diff)
	}
	*bom.Components = slices.DeleteFunc(*bom.Components, func(c cdx.Component) bool { return c.Name == sbom.BuiltinName })
	if diff := sbom.CompareBuiltin(bom, builtin.File); !strings.Contains(diff, "not in the SBOM") {
		t.Errorf("a list without the model was taken: %q", diff)
	}
}
