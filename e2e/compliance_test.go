package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/sbom/release"
)

// asked is an answer of the sidecar.
func asked(t *testing.T, url, etag string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestPodTellsWhatItIsMadeOf(t *testing.T) {
	p := sharedPod(t)
	for path, want := range map[string]string{
		"/sbom": `"bomFormat": "CycloneDX"`, "/.well-known/sbom": `"specVersion": "1.6"`, "/sbom.spdx.json": `"SPDX-2.3"`,
		"/licenses": `"Apache-2.0"`, "/notice": "Apache License",
	} {
		resp, body := asked(t, p.sidecar+path, "")
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s without %s:\n%.300s", path, resp.Status, want, body)
		}
		sum := sha256.Sum256(body)
		if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; resp.Header.Get("Content-Digest") != want {
			t.Errorf("%s: Content-Digest is %q, the body's is %q", path, resp.Header.Get("Content-Digest"), want)
		}
		if again, body := asked(t, p.sidecar+path, resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || len(body) > 0 {
			t.Errorf("%s, asked again with its ETag: %s, %d bytes", path, again.Status, len(body))
		}
	}
	_, licences := asked(t, p.sidecar+"/licenses", "")
	for _, want := range []string{`"purl": "pkg:npm/preact@`, `"purl": "pkg:npm/uplot@`, `"name": "semantic-builtin"`, `"name": "SmolLM2-135M-Instruct-Q4_1"`} {
		if !strings.Contains(string(licences), want) {
			t.Errorf("/licenses does not have %s", want)
		}
	}
	_, served := asked(t, p.sidecar+"/sbom", "")
	shown, err := exec.Command(semantic, "sbom", "show").Output()
	if err != nil || string(shown) != string(served) {
		t.Errorf("semantic sbom show is not what the sidecar serves: %v", err)
	}
	if resp, body := asked(t, p.sidecar+"/provenance", ""); resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "--release-dir") {
		t.Errorf("provenance of a binary without a release: %s %s", resp.Status, body)
	}
}

// TestDriftIsSeen runs the pod beside an SBOM of another file: every process drifts from it.
func TestDriftIsSeen(t *testing.T) {
	list, err := exec.Command(semantic, "sbom", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	var bom map[string]any
	if err := json.Unmarshal(list, &bom); err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(semantic)
	if err != nil {
		t.Fatal(err)
	}
	own := sha256.Sum256(sum)
	component := bom["metadata"].(map[string]any)["component"].(map[string]any)
	releaseOf := func(hash string) string {
		component["hashes"] = []map[string]string{{"alg": "SHA-256", "content": hash}}
		b, err := json.Marshal(bom)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, content := range map[string]string{
			"semantic_" + runtime.GOOS + "_" + runtime.GOARCH + ".cdx.json": string(b), "provenance.dsse.json": `{"payloadType":""}` + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	drifts := func(p *pod, value string) func() bool {
		return func() bool {
			_, body := asked(t, p.sidecar+"/metrics", "")
			_, health := asked(t, p.sidecar+"/health", "")
			looked := !strings.Contains(string(health[strings.Index(string(health), `"sbom"`):]), "never_succeeded")
			for _, process := range []string{"proxy", "engine", "sidecar"} {
				if !strings.Contains(string(body), `semantic_sbom_drift{process="`+process+`"} `+value+"\n") {
					return false
				}
			}
			return looked
		}
	}
	spoilt := newPod(t, "--release-dir", releaseOf(strings.Repeat("0", 64)))
	await(t, "a drift of all three", drifts(spoilt, "1"))
	if resp, _ := asked(t, spoilt.sidecar+"/provenance", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the release's provenance: %s", resp.Status)
	}
	well := newPod(t, "--release-dir", releaseOf(hex.EncodeToString(own[:])))
	await(t, "no drift", drifts(well, "0"))
}

var auditCommand = regexp.MustCompile(`<code class="(check|failed)">([^<]*)</code>`)

// TestAuditProvesEveryClaimAgain collects the evidence of a pod that runs, opens its
// index in a browser, and runs every command that stands in it.
func TestAuditProvesEveryClaimAgain(t *testing.T) {
	// Settings that the audit is not told of: it must have them from the pod.
	const secret = "the-admin-key-that-no-evidence-shows"
	m := newMonitor(t)
	releaseDir, publicKey := signedRelease(t)
	p := newPod(t, "--alert-set", "pool_critical_ratio=0.77", "--admin-key", secret, "--release-dir", releaseDir,
		"--rules-mode", "deliver", "--rules-dir", m.rules, "--prometheus-url", m.prometheus, "--rules-check-interval", "1s")
	m.watch(t, p)
	await(t, "the rules to be in force", func() bool {
		return strings.Contains(fetch(t, p.sidecar+"/metrics"), "\nsemantic_rules_healthy 1\n")
	})
	if out, err := exec.Command(semantic, "keys", "create", "--name", "ci", "--tenant", "acme", "--data-dir", p.dir).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "evidence.tar")
	if out, err := exec.Command(semantic, "audit", "--output", bundle, "--data-dir", p.dir, "--prometheus-url", m.prometheus,
		"--release-dir", releaseDir, "--release-key", publicKey).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	untar(t, bundle, dir)
	folder := filepath.Join(dir, "evidence")
	index, err := os.ReadFile(filepath.Join(folder, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	commands := auditCommand.FindAllStringSubmatch(string(index), -1)
	if len(commands) < 24 {
		t.Fatalf("the index has %d commands:\n%s", len(commands), index)
	}
	for _, m := range commands {
		cmd := exec.Command("bash", "-o", "pipefail", "-c", html.UnescapeString(m[2]))
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(semantic)+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil || m[1] != "check" {
			t.Errorf("%s: %v\n%.500s", m[2], err, out)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dom, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "browser"), "--dump-dom", "file://"+filepath.Join(folder, "index.html")).Output()
	if err != nil || strings.Count(string(dom), `class="check"`) != len(commands) {
		t.Errorf("the browser shows another index: %v\n%.1000s", err, dom)
	}
	for name, want := range map[string][]string{
		"alert-rules.yaml": {"> 0.77", p.sidecar + "/runbooks/"}, "settings-sidecar.yaml": {"alert-set: pool_critical_ratio=0.77", "data-dir: " + p.dir},
		"alert-rules-proof.txt": {"are loaded as they should be"}, "release-proof.txt": {"proved: "}, "provenance.dsse.json": {"payloadType"},
		"sbom-proof-engine.txt": {"the SHA-256 of its executable is the SBOM's"},
		"settings-proxy.yaml":   {"data-dir: " + p.dir, "\nport: ", "admin-key: '********'"}, "settings-engine.yaml": {"data-dir: " + p.dir, "\nmodel: "},
	} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s does not have %q: %v\n%.3000s", name, w, err, text)
			}
		}
	}
	if whole, err := os.ReadFile(bundle); err != nil || bytes.Contains(whole, []byte(secret)) {
		t.Errorf("the evidence shows the admin key: %v", err)
	}
	runMatrix(t, p, strings.NewReplacer("SOCKETS", filepath.Join(p.dir, "run"), "LOGS", p.logDir(), "--prometheus-url URL", "--prometheus-url "+m.prometheus,
		"verify-release dist", "verify-release "+releaseDir, "key.pub.pem", publicKey, "evidence.tar", filepath.Join(dir, "again.tar")))
	keys, err := os.ReadFile(filepath.Join(folder, "keys.json"))
	if err != nil || !strings.Contains(string(keys), `"acme"`) || strings.Contains(string(keys), "sha256") {
		t.Errorf("the keys: %v\n%s", err, keys)
	}
}

var matrixCommand = regexp.MustCompile("`([^`]+)`")

// runMatrix runs the commands of the control matrix that ask the binary or the pod. Those
// that begin otherwise ask a release or the sources, which make compliance does.
func runMatrix(t *testing.T, p *pod, place *strings.Replacer) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "compliance.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, matrix, _ := strings.Cut(string(page), "\n## Controls\n")
	matrix, _, _ = strings.Cut(matrix, "\n## ")
	ran := 0
	for line := range strings.Lines(matrix) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.Contains(cells[1], "---") || strings.Contains(cells[1], " control ") {
			continue
		}
		commands := matrixCommand.FindAllStringSubmatch(strings.Join(cells[3:], "|"), -1)
		if len(commands) == 0 {
			t.Errorf("no command backs %q", line)
		}
		for _, c := range commands {
			words, ours := strings.CutPrefix(c[1], "semantic ")
			if !ours {
				continue
			}
			cmd := exec.Command(semantic, strings.Fields(place.Replace(words))...)
			cmd.Env = append(os.Environ(), "SEMANTIC_DATA_DIR="+p.dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%.500s", c[1], err, out)
			}
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands of the matrix were run", ran)
	}
}

// TestAuditSaysWhatItCannotProve collects the evidence of a pod that is not what its release
// says, and whose proxy is gone: the index has it, and the exit status.
func TestAuditSaysWhatItCannotProve(t *testing.T) {
	p := newPod(t)
	releaseDir, publicKey := signedRelease(t)
	list := filepath.Join(releaseDir, "semantic_"+runtime.GOOS+"_"+runtime.GOARCH+".cdx.json")
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := regexp.MustCompile(`"content": *"[0-9a-f]{64}"`).ReplaceAll(text, []byte(`"content": "`+strings.Repeat("0", 64)+`"`))
	if err := os.WriteFile(list, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "evidence.tar")
	out, err := exec.Command(semantic, "audit", "--output", bundle, "--data-dir", p.dir, "--release-dir", releaseDir, "--release-key", publicKey).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "claims could not be proved") {
		t.Errorf("%v\n%s", err, out)
	}
	untar(t, bundle, dir)
	index, err := os.ReadFile(filepath.Join(dir, "evidence", "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, c := range auditCommand.FindAllStringSubmatch(string(index), -1) {
		if c[1] == "failed" {
			failed++
		}
	}
	// Each of the three processes, the release, and its provenance that the pod does not have.
	if failed != 5 || !strings.Contains(string(index), "its executable&#39;s SHA-256 is") {
		t.Errorf("%d claims failed:\n%s", failed, index)
	}
}

// signedRelease is a release of the binary under test: its folder, and the key to prove it by.
func signedRelease(t *testing.T) (dir, publicKey string) {
	t.Helper()
	dir = t.TempDir()
	name := "semantic_" + runtime.GOOS + "_" + runtime.GOARCH
	binary, err := os.ReadFile(semantic)
	if err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command(semantic, "sbom", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	var bom map[string]any
	if err := json.Unmarshal(list, &bom); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(binary)
	bom["metadata"].(map[string]any)["component"].(map[string]any)["hashes"] = []map[string]string{{"alg": "SHA-256", "content": hex.EncodeToString(sum[:])}}
	if list, err = json.Marshal(bom); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	publicKey = filepath.Join(t.TempDir(), "key.pub.pem")
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, name), binary, 0o700),
		os.WriteFile(filepath.Join(dir, name+".cdx.json"), list, 0o600),
		os.WriteFile(publicKey, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600),
		release.Write(dir, private, release.NewProvenance(map[string]any{"version": "test"}, nil, nil)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, publicKey
}

func untar(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
