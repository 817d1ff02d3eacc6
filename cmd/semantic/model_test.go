package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/engine"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// modelServer serves files by their paths. The first answer of each is cut off.
func modelServer(t *testing.T, files map[string][]byte) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	cut := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		file, ok := files[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case !cut[r.URL.Path]:
			cut[r.URL.Path] = true
			w.Header().Set("Content-Length", fmt.Sprint(len(file)))
			_, _ = w.Write(file[:len(file)/2])
			panic(http.ErrAbortHandler)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func TestModelIsPulledListedInspectedAndServed(t *testing.T) {
	file := enginetest.Bytes(enginetest.Shape{})
	url, requests := modelServer(t, map[string][]byte{"/hub/tiny.gguf": file})
	dir := t.TempDir()
	pull := []string{"model", "pull", url + "/hub/tiny.gguf?download=1", "--sha256", strings.ToUpper(digest(file)), "--data-dir", dir}
	out, said := must(t, pull...)
	path := filepath.Join(dir, "models", "tiny.gguf")
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, file) || strings.TrimSpace(out) != path || requests.Load() != 2 {
		t.Fatalf("printed %q, said %q, %v, %d requests", out, said, err, requests.Load())
	}
	if _, said := must(t, pull...); !strings.Contains(said, "there already") || requests.Load() != 2 {
		t.Errorf("again: %q after %d requests", said, requests.Load())
	}

	if err := os.WriteFile(filepath.Join(dir, "models", "broken.gguf"), file[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = must(t, "model", "list", "--data-dir", dir)
	if !strings.Contains(out, "tiny ") || !strings.Contains(out, "llama") || !strings.Contains(out, "broken") || !strings.Contains(out, "cannot be read") {
		t.Errorf("listed:\n%s", out)
	}
	var rows []engine.ModelFile
	out, _ = must(t, "model", "list", "--data-dir", dir, "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) < 2 {
		t.Errorf("%v: %s", err, out)
	}

	out, _ = must(t, "model", "inspect", path, "-o", "json")
	var m engine.ModelFile
	if err := json.Unmarshal([]byte(out), &m); err != nil || m.Bytes != int64(len(file)) || m.Context != 512 || m.Layers != 2 || m.Vocabulary != 288 ||
		len(m.Fingerprint) != 64 || m.WeightBytes == 0 || m.KVTokenBytes == 0 || !m.ChatTemplate || m.ToolPrompt != "our own" || m.Fault != "" {
		t.Errorf("%v: %+v", err, m)
	}
	out, _ = must(t, "model", "inspect", path)
	if !strings.Contains(out, "served") || !strings.Contains(out, "yes, with") || !strings.Contains(out, "tools by our own prompt") {
		t.Errorf("inspected:\n%s", out)
	}
}

func TestModelThatIsNotTheOneOrNoneIsRefused(t *testing.T) {
	file := enginetest.Bytes(enginetest.Shape{})
	url, _ := modelServer(t, map[string][]byte{"/a.gguf": file, "/b.gguf": []byte("no model at all"), "/c": file})
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"another file": {[]string{url + "/a.gguf", "--sha256", digest([]byte("other"))}, statusFailure, "SHA-256 is not the one"},
		"no hash":      {[]string{url + "/a.gguf"}, statusUsage, "sha256"},
		"a bad hash":   {[]string{url + "/a.gguf", "--sha256", "abc"}, statusFailure, "64 hexadecimal digits"},
		"not there":    {[]string{url + "/none.gguf", "--sha256", digest(file)}, statusFailure, "404"},
		"no server":    {[]string{"http://127.0.0.1:1/a.gguf", "--sha256", digest(file), "--retries", "0"}, statusFailure, "refused"},
		"no address":   {[]string{"a.gguf", "--sha256", digest(file)}, statusUsage, "http://"},
		"another name": {[]string{url + "/c", "--sha256", digest(file)}, statusUsage, "--name"},
		"a folder":     {[]string{url + "/a.gguf", "--sha256", digest(file), "--name", "../a.gguf"}, statusUsage, "folder"},
		"no model":     {[]string{url + "/b.gguf", "--sha256", digest([]byte("no model at all"))}, statusFailure, "no model"},
	} {
		status, out, said := semantic(append([]string{"model", "pull", "--data-dir", dir}, c.args...)...)
		if status != c.status || !strings.Contains(said, c.want) || out != "" {
			t.Errorf("%s: status %d, printed %q, said %q", name, status, out, said)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "models", "a.gguf")); !os.IsNotExist(err) {
		t.Errorf("a wrong file was kept: %v", err)
	}
	bad := filepath.Join(dir, "odd.gguf")
	if err := os.WriteFile(bad, bytes.Replace(file, []byte("general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama"), []byte("general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00mamba"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, said := semantic("model", "inspect", bad); status != statusFailure || !strings.Contains(said, "mamba") || !strings.Contains(out, "no: ") {
		t.Errorf("another family: status %d, printed %q, said %q", status, out, said)
	}
	if status, _, said := semantic("model", "inspect", filepath.Join(dir, "none.gguf")); status != statusFailure || !strings.Contains(said, "none.gguf") {
		t.Errorf("no file: status %d, said %q", status, said)
	}
}
