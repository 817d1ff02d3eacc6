package e2e

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
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
	release := func(hash string) string {
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
	spoilt := newPod(t, "--release-dir", release(strings.Repeat("0", 64)))
	await(t, "a drift of all three", drifts(spoilt, "1"))
	if resp, _ := asked(t, spoilt.sidecar+"/provenance", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the release's provenance: %s", resp.Status)
	}
	well := newPod(t, "--release-dir", release(hex.EncodeToString(own[:])))
	await(t, "no drift", drifts(well, "0"))
}

var auditCommand = regexp.MustCompile(`<code class="(check|failed)">([^<]*)</code>`)

// TestAuditProvesEveryClaimAgain collects the evidence of a pod that runs, opens its
// index in a browser, and runs every command that stands in it.
func TestAuditProvesEveryClaimAgain(t *testing.T) {
	p := newPod(t)
	if out, err := exec.Command(semantic, "keys", "create", "--name", "ci", "--tenant", "acme", "--data-dir", p.dir).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "evidence.tar")
	if out, err := exec.Command(semantic, "audit", "--output", bundle, "--data-dir", p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	untar(t, bundle, dir)
	folder := filepath.Join(dir, "evidence")
	index, err := os.ReadFile(filepath.Join(folder, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	commands := auditCommand.FindAllStringSubmatch(string(index), -1)
	if len(commands) < 15 {
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
	keys, err := os.ReadFile(filepath.Join(folder, "keys.json"))
	if err != nil || !strings.Contains(string(keys), `"acme"`) || strings.Contains(string(keys), "sha256") {
		t.Errorf("the keys: %v\n%s", err, keys)
	}
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
