//go:build compliance

package vex

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
)

// known are the vulnerabilities of the test's database, as if they were real. What is
// asked about is the package sbom alone: the whole program takes most of a minute.
var known = []struct {
	id, module, pkg, symbol string
	state                   cdx.ImpactAnalysisState
	why                     cdx.ImpactAnalysisJustification
	in                      string // component that is affected
}{
	{"GO-2026-9001", "github.com/package-url/packageurl-go", "github.com/package-url/packageurl-go", "FromString", cdx.IASInTriage, "", "github.com/package-url/packageurl-go"},
	{"GO-2026-9002", "github.com/google/uuid", "github.com/google/uuid", "NewUUID", cdx.IASNotAffected, cdx.IAJCodeNotReachable, "github.com/google/uuid"},
	{"GO-2026-9003", "stdlib", "net/http/cgi", "Serve", cdx.IASNotAffected, cdx.IAJCodeNotPresent, "std"},
}

// writeDatabase writes a database in the layout of the Go vulnerability database.
func writeDatabase(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	put := func(name string, what any) {
		b, err := json.Marshal(what)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index []any
	for _, k := range known {
		index = append(index, map[string]any{"path": k.module, "vulns": []any{map[string]any{"id": k.id, "modified": day}}})
		put("ID/"+k.id+".json", map[string]any{
			"schema_version": "1.3.1", "id": k.id, "modified": day, "published": day, "aliases": []string{"CVE-2026-" + k.id[8:]},
			"summary": "Made for this test", "details": "There is no such fault.",
			"affected": []any{map[string]any{
				"package":            map[string]any{"name": k.module, "ecosystem": "Go"},
				"ranges":             []any{map[string]any{"type": "SEMVER", "events": []any{map[string]any{"introduced": "0"}}}},
				"ecosystem_specific": map[string]any{"imports": []any{map[string]any{"path": k.pkg, "symbols": []string{k.symbol}}}},
			}},
			"database_specific": map[string]any{"url": "https://pkg.go.dev/vuln/" + k.id},
		})
	}
	put("index/modules.json", index)
	put("index/db.json", map[string]any{"modified": day})
	return folder
}

func question(t *testing.T, database string) Question {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	list, err := sbom.Describe(sbom.Build{Version: "1.2.3", Commit: sbom.Unknown, Go: strings.TrimSpace(string(version)), OS: "linux", Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	return Question{Govulncheck: filepath.Join(root, ".tools", "govulncheck"), Root: root, Database: database, SBOM: list,
		Prepare: func() ([]string, error) { return []string{"./sbom"}, nil }}
}

// serveDatabase serves a folder as a database is served: each file compressed.
func serveDatabase(t *testing.T, folder string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(folder, filepath.Clean(strings.TrimSuffix(r.URL.Path, ".gz"))))
		if err != nil || !strings.HasSuffix(r.URL.Path, ".gz") {
			http.NotFound(w, r)
			return
		}
		packed := gzip.NewWriter(w)
		if _, err := packed.Write(b); err == nil && packed.Close() != nil {
			t.Errorf("cannot serve %s", r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestVEXTellsWhatIsReachable(t *testing.T) {
	q := question(t, serveDatabase(t, writeDatabase(t)))
	answer, err := Assess(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(answer.Reachable, " "); got != "GO-2026-9001" {
		t.Errorf("reachable: %q", got)
	}
	found := *answer.Document.Vulnerabilities
	if len(found) != len(known) {
		t.Fatalf("%d vulnerabilities, expected %d: %+v", len(found), len(known), found)
	}
	for i, k := range known {
		v := found[i]
		if v.ID != k.id || v.Analysis.State != k.state || v.Analysis.Justification != k.why {
			t.Errorf("%s is %s %s, expected %s to be %s %s", v.ID, v.Analysis.State, v.Analysis.Justification, k.id, k.state, k.why)
		}
		link, err := cdx.ParseBOMLink((*v.Affects)[0].Ref)
		if err != nil {
			t.Fatal(err)
		}
		if link.SerialNumber() != q.SBOM.SerialNumber || !strings.HasPrefix(link.Reference(), "pkg:golang/"+k.in+"@") {
			t.Errorf("%s affects %s, expected %s in %s", v.ID, link, k.in, q.SBOM.SerialNumber)
		}
	}
	if path := found[0].Analysis.Detail; !strings.Contains(path, "sbom.Affected → github.com/package-url/packageurl-go.FromString") {
		t.Errorf("the path to the vulnerable function is not told: %s", path)
	}
	judge(t, q.Root, answer.Document)
}

// judge holds the document against CycloneDX's own strict schema.
func judge(t *testing.T, root string, document *cdx.BOM) {
	t.Helper()
	b, err := sbom.Encode(document, sbom.JSON)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vex.cdx.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", filepath.Join(root, "tools", "compliance", "judges", "schema.mjs"), file).CombinedOutput()
	if err != nil {
		t.Fatalf("the strict schema; if it is missing, run: make test-setup\n%v\n%s", err, out)
	}
}

func TestUnreachableDatabaseIsTold(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, at := range []string{"", "/no/such/folder", t.TempDir(), "file:///no/such/folder", gone.URL, closed.URL} {
		_, err := Assess(context.Background(), question(t, at))
		if !errors.Is(err, ErrNoDatabase) || !strings.Contains(fmt.Sprint(err), "GOVULNDB") {
			t.Errorf("%q: %v", at, err)
		}
	}
	if _, err := Assess(context.Background(), question(t, "ftp://localhost/db")); err == nil || errors.Is(err, ErrNoDatabase) {
		t.Errorf("a wrong scheme is a mistake, not a missing database: %v", err)
	}
}

// TestSubcommandsAreReached: a library of flags calls them by reflection.
func TestSubcommandsAreReached(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"main_test.go": "package main\n",
		"go.mod":       "module example.org/program\n\ngo 1.26\n",
		"main.go": `package main

import (
	"net/http/cgi"
	"reflect"
)

type serveCmd struct{}

func (serveCmd) Run() error { return cgi.Serve(nil) }

func main() { reflect.ValueOf(serveCmd{}).MethodByName("Run").Call(nil) }
`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	q := question(t, writeDatabase(t))
	q.Root = folder
	q.Prepare = func() ([]string, error) { return []string{"."}, OpenEntries(folder) }
	answer, err := Assess(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(answer.Reachable, " "); got != "GO-2026-9003" {
		t.Errorf("reachable: %q", got)
	}
}

// TestSBOMOfAnotherBuildIsRefused: a document that links to it would speak of versions that
// nobody looked at.
func TestSBOMOfAnotherBuildIsRefused(t *testing.T) {
	r := report{
		entries: map[string]*entry{"GO-2026-9002": {ID: "GO-2026-9002"}},
		reached: []*reached{{vulnerability: "GO-2026-9002", module: "github.com/google/uuid", version: "v0.0.1"}},
	}
	if _, err := r.answer(question(t, "").SBOM); err == nil || !strings.Contains(err.Error(), "build the binary anew") {
		t.Errorf("an SBOM of another version was taken: %v", err)
	}
}

func TestBrokenDatabaseFails(t *testing.T) {
	folder := writeDatabase(t)
	if err := os.WriteFile(filepath.Join(folder, "index", "modules.json"), []byte("[{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Assess(context.Background(), question(t, folder)); err == nil || errors.Is(err, ErrNoDatabase) {
		t.Errorf("a broken database was taken for a missing one, or for a good one: %v", err)
	}
}
