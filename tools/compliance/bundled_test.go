package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// committed is the list as `make notice` last wrote it.
func committed(t *testing.T) *cdx.BOM {
	t.Helper()
	bom, err := sbom.Describe(sbom.Build{Version: "1.2.3", Go: "go1.26.8", OS: "linux", Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	return bom
}

// TestBundledPackagesAreInTheSBOM holds what lies in the console's bundle against the list,
// whole components, and against NOTICE.
func TestBundledPackagesAreInTheSBOM(t *testing.T) {
	web, err := readBundle("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(web.Packages) == 0 {
		t.Fatal("the bundle holds no package")
	}
	bom := committed(t)
	if err := web.missing(bom); err != nil {
		t.Errorf("%v; run: make notice", err)
	}
	for _, p := range web.Packages {
		if !strings.Contains(string(sbom.Notice), p.text.text) {
			t.Errorf("NOTICE does not have the licence of %s; run: make notice", p.Name)
		}
	}
	lost := *web
	lost.Packages = append(slices.Clone(web.Packages), bundledPackage{Name: "left-pad", Version: "1.3.0", Licence: "MIT"})
	if err := lost.missing(bom); err == nil || !strings.Contains(err.Error(), "pkg:npm/left-pad@1.3.0 is bundled and not in the SBOM") {
		t.Errorf("a package that is not listed: %v", err)
	}
	lost.Packages = slices.Clone(web.Packages[1:])
	if err := lost.missing(bom); err == nil || !strings.Contains(err.Error(), web.Packages[0].ref()+" is in the SBOM and not bundled") {
		t.Errorf("a package that is not bundled: %v", err)
	}
	lost.Packages = slices.Clone(web.Packages)
	lost.Packages[0].archive = make([]byte, 64)
	if err := lost.missing(bom); err == nil || !strings.Contains(err.Error(), "the SBOM says of "+web.Packages[0].ref()) {
		t.Errorf("a package of another archive: %v", err)
	}
}

// TestNPMListsTheSamePackages asks npm itself what the console leans on.
func TestNPMListsTheSamePackages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join("../..", webDir, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), `"name": "semantic-console",`, `"name": "semantic-console", "version": "0.0.0",`) // npm asks for one
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "sbom", "--package-lock-only", "--omit=dev", "--sbom-format=cyclonedx", "--offline")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm sbom: %v; is npm there? run: make test-setup\n%s", err, out)
	}
	var theirs struct {
		Components []struct {
			PURL   string
			Hashes []struct{ Alg, Content string }
		}
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	want, have := map[string]string{}, map[string]string{}
	for _, c := range theirs.Components {
		want[c.PURL] = c.Hashes[0].Alg + " " + c.Hashes[0].Content
	}
	for _, c := range *committed(t).Components {
		if strings.HasPrefix(c.PackageURL, "pkg:npm/") {
			have[c.PackageURL] = string((*c.Hashes)[0].Algorithm) + " " + (*c.Hashes)[0].Value
		}
	}
	if len(want) == 0 || len(want) != len(have) {
		t.Errorf("npm lists %v, the SBOM %v", want, have)
	}
	for purl, hash := range want {
		if have[purl] != hash {
			t.Errorf("npm lists %s with %s, the SBOM has %q", purl, hash, have[purl])
		}
	}
}

// TestBundleIsRefusedUnlessAllAgree spoils, one at a time, what the list is made of.
func TestBundleIsRefusedUnlessAllAgree(t *testing.T) {
	p, err := readPolicy("../../sbom/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const lock, list, mit = webDir + "/package-lock.json", webDir + "/bundled.json", webDir + "/LICENSES/preact.txt"
	for _, c := range []struct {
		name, file, from, to string // from "" : the file is removed
		want                 string // "" : it is taken
	}{
		{name: "as it is", file: lock, from: "{", to: "{"},
		{name: "an added dependency", file: lock, from: `"node_modules/vite": {`, to: `"node_modules/left-pad": {"version": "1.3.0"}, "node_modules/vite": {`, want: "node_modules/left-pad as a dependency, and the bundle holds nothing of it"},
		{name: "a package for development alone", file: list, from: `"name": "preact"`, to: `"name": "vite"`, want: "vite is bundled, and is no dependency"},
		{name: "another version", file: list, from: `"version": "10.`, to: `"version": "9.`, want: "is bundled, package-lock.json has 10."},
		{name: "no SHA-512", file: lock, from: `"integrity": "sha512-7t`, to: `"integrity": "sha1-7t`, want: "no SHA-512 of preact"},
		{name: "a cut SHA-512", file: lock, from: `"integrity": "sha512-7tNm`, to: `"integrity": "sha512-`, want: "no SHA-512 of preact"},
		{name: "no licence text", file: mit, want: "no licence text of preact"},
		{name: "another licence text", file: mit, from: "Permission is hereby granted", to: "Permission is hereby refused", want: "its text is another"},
		{name: "two witnesses", file: list, from: `"licence": "MIT"`, to: `"licence": "ISC"`, want: `package-lock.json has "MIT"`},
		{name: "no list", file: list, want: "run: make console"},
		{name: "another page", file: distDir + "/index.html", from: "<", to: " <", want: "index.html is not the file"},
		{name: "no page", file: distDir + "/index.html", want: "does not hold it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := copyBundle(t)
			path := filepath.Join(root, filepath.FromSlash(c.file))
			b, err := os.ReadFile(path)
			if err == nil && c.from == "" {
				err = os.Remove(path)
			} else if err == nil {
				text := strings.Replace(string(b), c.from, c.to, 1)
				if text == string(b) && c.from != c.to {
					t.Fatalf("%s does not hold %s", c.file, c.from)
				}
				err = os.WriteFile(path, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			web, err := readBundle(root)
			if err == nil {
				err = web.check(p, day(t, "2026-01-01"))
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// copyBundle copies the committed files that the list is made of.
func copyBundle(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{webDir + "/LICENSES", distDir} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join("../..", dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bundled.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join("../..", webDir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, webDir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPolicyJudgesBundledPackages(t *testing.T) {
	p, err := readPolicy("../../sbom/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mit := licenceText{text: "Permission is hereby granted, free of charge, to any person obtaining"}
	for _, c := range []struct {
		licence string
		text    licenceText
		want    string
	}{
		{"MIT", mit, ""},
		{"ISC", mit, "its text is another"},
		{"GPL-3.0-only", mit, "GPL-3.0-only is denied"},
		{"(MIT OR GPL-3.0-only)", mit, "in no list"},
		{"", mit, "does not tell its licence"},
	} {
		err := (&bundle{Packages: []bundledPackage{{Name: "a", Version: "1.0.0", Licence: c.licence, text: c.text}}}).check(p, day(t, "2026-01-01"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, expected %q", c.licence, err, c.want)
		}
	}
}

// TestBundledPackageSaysWhatIsUnknown: nothing that its metadata does not have is made up.
func TestBundledPackageSaysWhatIsUnknown(t *testing.T) {
	sum := make([]byte, 64)
	bare := bundledPackage{Name: "@scope/a", Version: "1.0.0", Licence: "MIT", archive: sum}
	c := bare.component()
	if c.Supplier != nil || c.Authors != nil || c.ExternalReferences != nil ||
		!strings.HasPrefix(sbom.Property(&c, "semantic:supplier"), "unknown") || !strings.HasPrefix(sbom.Property(&c, "semantic:author"), "unknown") {
		t.Errorf("%+v", c)
	}
	if c.PackageURL != "pkg:npm/%40scope/a@1.0.0" || !strings.Contains(sbom.Property(&c, "semantic:hashes:of"), "scope-a-1.0.0.tgz") {
		t.Errorf("%s, %+v", c.PackageURL, c.Properties)
	}
	for repository, want := range map[string]string{
		"git+https://github.com/leeoniya/uPlot.git": "github.com/leeoniya", "preactjs/preact": "github.com/preactjs",
		"github:a/b": "github.com/a", "git://example.org/x.git": "example.org", "ssh://git@gitlab.com/o/p.git": "gitlab.com/o", "no address": "",
	} {
		p := bundledPackage{Repository: repository}
		if got := p.supplier(); (got == nil) != (want == "") || got != nil && got.Name != want {
			t.Errorf("%q: %+v, expected %q", repository, got, want)
		}
	}
}

// TestBuiltinModelIsListed holds the file in the sources against the list.
func TestBuiltinModelIsListed(t *testing.T) {
	made, err := builtinComponent("../..", metadata("x"))
	if err != nil {
		t.Fatal(err)
	}
	bom := committed(t)
	at := slices.IndexFunc(*bom.Components, func(c cdx.Component) bool { return c.Name == sbom.BuiltinName })
	if at < 0 {
		t.Fatal("the built-in model is not in the SBOM; run: make notice")
	}
	c := (*bom.Components)[at]
	if c.Type != cdx.ComponentTypeMachineLearningModel || sbom.SHA256(&c) != sbom.SHA256(&made) || sbom.Expression(&c) != "Apache-2.0" || c.Supplier.Name != sbom.Supplier {
		t.Errorf("the list says %+v; run: make notice", c)
	}
	if raw, err := hex.DecodeString(sbom.SHA256(&c)); err != nil || !strings.HasSuffix(c.PackageURL, hex.EncodeToString(raw)) || c.Version != "1.2.3" {
		t.Errorf("%s at %s: %v", c.PackageURL, c.Version, err)
	}
	bad := filepath.Join(t.TempDir(), "bad.gguf")
	if err := os.WriteFile(bad, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := modelLicence(bad); err == nil {
		t.Error("a file that is no model told its licence")
	}
}
