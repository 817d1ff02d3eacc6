//go:build compliance

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// The release is made once for all tests here, of a copy of the sources.
var (
	root, dist, publicKey string
	judges                string // folder of the judges
)

func TestMain(m *testing.M) {
	work, err := os.MkdirTemp("", "dist")
	if err == nil {
		err = prepare(work)
	}
	status := 1
	if err == nil {
		status = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "compliance:", err)
	}
	os.RemoveAll(work)
	os.Exit(status)
}

func prepare(work string) error {
	var err error
	if root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	judges = filepath.Join(root, "tools", "compliance", "judges")
	for _, need := range []string{filepath.Join(root, ".tools", "judges", "bin", "python"), filepath.Join(judges, "node_modules", "ajv")} {
		if _, err := os.Stat(need); err != nil {
			return fmt.Errorf("%w; run: make test-setup", err)
		}
	}
	publicKey = filepath.Join(work, "key.pub.pem")
	for _, args := range [][]string{
		{"genpkey", "-algorithm", "ed25519", "-out", filepath.Join(work, "key.pem")},
		{"pkey", "-in", filepath.Join(work, "key.pem"), "-pubout", "-out", publicKey},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("openssl: %w\n%s", err, out)
		}
	}
	dist, err = makeDist(work, "first", "")
	return err
}

// makeDist builds the release of a copy of the sources in a folder of that name.
func makeDist(work, name, cache string) (string, error) {
	tree := filepath.Join(work, name)
	if err := copyTree(root, tree); err != nil {
		return "", err
	}
	out := filepath.Join(work, "dist-"+name)
	cmd := exec.Command("make", "dist", "DIST="+out, "DIST_KEY="+filepath.Join(work, "key.pem"))
	cmd.Dir = tree
	if cache != "" {
		cmd.Env = append(os.Environ(), "GOCACHE="+cache)
	}
	b, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dist in %s: %w\n%s", tree, err, b)
	}
	return out, nil
}

// TestDistIsReproducible builds again in another folder, and wants the same bytes in
// every file. COLD=1 lets the second build find nothing that the first compiled.
func TestDistIsReproducible(t *testing.T) {
	work := t.TempDir()
	for _, name := range []string{"key.pem", "key.pub.pem"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(publicKey), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cache := ""
	if os.Getenv("COLD") != "" {
		cache = filepath.Join(work, "cache")
	}
	again, err := makeDist(work, "a-second/and-much-longer/folder", cache)
	if err != nil {
		t.Fatal(err)
	}
	names := files(t, dist)
	if !slices.Equal(names, files(t, again)) {
		t.Fatalf("the files differ: %v and %v", names, files(t, again))
	}
	for _, name := range names {
		if !bytes.Equal(read(t, dist, name), read(t, again, name)) {
			t.Errorf("%s differs between two builds of one commit", name)
		}
	}
}

func TestOutsideJudgesTakeTheRelease(t *testing.T) {
	python := filepath.Join(root, ".tools", "judges", "bin", "python")
	lists := glob(t, "*.cdx.json")
	judge := func(name string, want string, command string, args ...string) {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(command, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
	judge("strict schema", "valid", "node", append([]string{filepath.Join(judges, "schema.mjs")}, lists...)...)
	judge("cyclonedx-python-lib", "valid", python, append([]string{filepath.Join(judges, "schema.py")}, append(lists, glob(t, "*.cdx.xml")...)...)...)
	judge("DSSE and in-toto", "https://slsa.dev/provenance/v1", python, append([]string{filepath.Join(judges, "dsse.py"), publicKey}, glob(t, "*.dsse.json")...)...)
	for _, spdx := range glob(t, "*.spdx.json") {
		judge("NTIA of "+filepath.Base(spdx), "Conformant: True", python, "-m", "ntia_conformance_checker.main", "--comply", "ntia", spdx)
	}
	for _, list := range lists {
		t.Run("sbomaudit of "+filepath.Base(list), func(t *testing.T) {
			cmd := exec.Command(filepath.Join(filepath.Dir(python), "sbomaudit"), "--offline", "-i", list)
			cmd.Env = append(os.Environ(), "COLUMNS=500") // no line is folded
			out, err := cmd.CombinedOutput()
			checkAudit(t, list, string(out), err)
		})
	}
	judge("sha256sum", "OK", "sh", "-c", "cd "+dist+" && sha256sum --check --strict SHA256SUMS")
}

// checkAudit reads sbomaudit's verdict. It fails a licence that is an expression, whose
// parts it does not look at; those our own policy holds. It may fail nothing else.
func checkAudit(t *testing.T, list, out string, err error) {
	t.Helper()
	if !strings.Contains(out, "[x] NTIA Summary") || !strings.Contains(out, "Checks passed") {
		t.Fatalf("%v\n%s", err, out)
	}
	expressions := licenceExpressions(t, list)
	for line := range strings.Lines(out) {
		failed, isFailed := strings.CutPrefix(strings.TrimSpace(line), "[ ] ")
		if !isFailed {
			continue
		}
		name, isLicence := strings.CutPrefix(failed, "OSI Approved license for ")
		if name, _, _ = strings.Cut(name, ": "); !isLicence || !expressions[name] {
			t.Errorf("it fails: %s", failed)
		}
	}
	if t.Failed() || err != nil && !strings.Contains(out, "OSI Approved license for ") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// licenceExpressions returns the names of a list's components under several licences.
func licenceExpressions(t *testing.T, list string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Components []struct {
			Name     string
			Licenses []struct{ Expression string }
		}
	}
	if err := json.Unmarshal(b, &bom); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range bom.Components {
		for _, l := range c.Licenses {
			if l.Expression != "" {
				found[c.Name] = true
			}
		}
	}
	return found
}

// TestReleaseIsOneVersion holds what the released binary says of itself against the rest.
func TestReleaseIsOneVersion(t *testing.T) {
	binary := filepath.Join(dist, "semantic_linux_amd64")
	if err := (&releaseCmd{Root: root, Binary: binary}).Run(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify-release", dist, "--key", publicKey},
		{"sbom", "verify"},
		{"sbom", "verify", binary + ".cdx.json"},
		{"sbom", "verify", binary + ".cdx.xml"},
		{"sbom", "verify", filepath.Join(dist, "semantic_linux_arm64.cdx.json"), "--binary", filepath.Join(dist, "semantic_linux_arm64")},
	} {
		if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "proved: ") {
			t.Errorf("semantic %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	out, err := exec.Command(binary, "sbom", "verify", binary+".cdx.json", "--binary", filepath.Join(dist, "semantic_linux_arm64")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "its SHA-256 is") {
		t.Errorf("the SBOM of another binary was taken: %v\n%s", err, out)
	}
}

// TestReleaseListsWhatIsEmbedded holds what is no Go against the sources' files: the page of
// the console with the packages within it, the built-in model once, the assembly.
func TestReleaseListsWhatIsEmbedded(t *testing.T) {
	bom, err := sbom.Decode(bytes.NewReader(read(t, dist, "semantic_linux_amd64.cdx.json")))
	if err != nil {
		t.Fatal(err)
	}
	leansOn := map[string][]string{}
	for _, d := range *bom.Dependencies {
		if d.Dependencies != nil {
			leansOn[d.Ref] = *d.Dependencies
		}
	}
	listed := map[string]*cdx.Component{}
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		if listed[c.Name] != nil {
			t.Errorf("%s is listed twice", c.Name)
		}
		listed[c.Name] = c
	}
	tracked, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard",
		distDir, "engine/builtin/*.gguf", "engine/kernel/*_amd64.s", "runbooks/*.md", "alerts/rules", "proxy/shared/*.lua").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(tracked))
	if len(names) < 20 {
		t.Fatalf("the sources hold only %v", names)
	}
	for _, name := range names {
		c := listed[name]
		if name == sbom.BuiltinFile {
			c = listed[sbom.BuiltinName]
		}
		sum := sha256.Sum256(read(t, root, name))
		if c == nil || sbom.SHA256(c) != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is embedded, and the release's SBOM says %+v", name, c)
			continue
		}
		if strings.HasSuffix(name, ".js") && (len(leansOn[c.BOMRef]) < 2 || sbom.Expression(c) != "Apache-2.0 AND MIT") {
			t.Errorf("%s holds %v under %s", name, leansOn[c.BOMRef], sbom.Expression(c))
		}
	}
	if listed[sbom.BuiltinFile] != nil {
		t.Error("the built-in model is listed as a file too")
	}
}

// TestTamperingIsFound changes bytes of every file of the real release, and of each field of
// every envelope.
func TestTamperingIsFound(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "semantic")
	if err := os.WriteFile(binary, read(t, dist, "semantic_linux_amd64"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, dist) {
		path := filepath.Join(dist, name)
		whole := read(t, dist, name)
		for _, at := range places(t, name, whole) {
			changed := slices.Clone(whole)
			changed[at] ^= 1
			if err := os.WriteFile(path, changed, 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(binary, "verify-release", dist, "--key", publicKey).CombinedOutput(); err == nil {
				t.Errorf("byte %d of %s was changed, and nobody noticed:\n%s", at, name, out)
			}
		}
		if err := os.WriteFile(path, whole, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(binary, "verify-release", dist, "--key", publicKey).CombinedOutput(); err != nil {
		t.Fatalf("all is as it was: %v\n%s", err, out)
	}
}

// places are the bytes to change: a file's first, middle and last, and those of each field's
// name and value in an envelope, its signature with them.
func places(t *testing.T, name string, whole []byte) []int {
	t.Helper()
	at := []int{0, len(whole) / 2, len(whole) - 1}
	if !strings.HasSuffix(name, ".dsse.json") {
		return at
	}
	for _, field := range []string{"payloadType", "payload", "signatures", "keyid", "sig"} {
		start := bytes.Index(whole, []byte(`"`+field+`":`))
		if start < 0 {
			t.Fatalf("%s has no field %s", name, field)
		}
		value := start + len(field) + len(`"":"`)
		at = append(at, start+1, value)
		if end := bytes.IndexByte(whole[value:], '"'); end > 0 {
			at = append(at, value+end/2, value+end-1)
		}
	}
	return at
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) != 2 && pattern != "*.dsse.json" || len(found) == 0 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found
}
