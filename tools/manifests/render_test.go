package manifests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root   = "../.."
	chart  = root + "/deploy/helm/semantic"
	helm   = root + "/.tools/helm"
	scan   = root + "/.tools/checkov/bin/checkov"
	binary = root + "/bin/semantic"
)

func TestMain(m *testing.M) {
	for path, target := range map[string]string{helm: "make test-setup", scan: "make test-setup", binary: "make build"} {
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintf(os.Stderr, "tools/manifests: %v; run: %s\n", err, target)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// variant is the chart with values with which it is used.
type variant struct {
	name string
	args []string
}

var variants = []variant{
	{"default", nil},
	{"dev", []string{"-f", chart + "/values-dev.yaml"}},
	{"dev without native sidecars", []string{"-f", chart + "/values-dev.yaml", "--set", "nativeSidecars=false"}},
	{"production", []string{"-f", chart + "/values-production.yaml", "--set", "image.pullPolicy=Always", "--set", "image.digest=sha256:" + strings.Repeat("0", 64)}},
	{"deployment with volumes", []string{"--set", "kind=Deployment,replicas=1,autoscaling.enabled=false"}},
	{"model fetched", []string{"--set", "model.url=https://example.com/m.gguf,model.sha256=" + strings.Repeat("ab", 32), "--set", "createNamespace=true"}},
	{"agents in a shared store", []string{"--set", "coldStore.url=file:///cold,coldStore.existingClaim=agents,coldStore.quota=200GiB"}},
	{"upstream", []string{"--set", "upstream.url=http://vllm-0:8000\\,http://vllm-1:8000,upstream.keySecret=vllm"}},
}

func render(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(helm, append([]string{"template", "semantic", chart, "--namespace", "semantic"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, &stderr)
	}
	return stdout.String(), nil
}

// objects returns the documents of a variant, decoded strictly.
func objects(t *testing.T, v variant) []any {
	t.Helper()
	text, err := render(v.args...)
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, doc := range strings.Split("\n"+text, "\n---\n") {
		if len(bytes.TrimSpace(withoutComments(doc))) == 0 {
			continue
		}
		o, err := decode([]byte(doc))
		if err != nil {
			t.Errorf("%v\n%s", err, doc)
			continue
		}
		all = append(all, o)
	}
	return all
}

func withoutComments(doc string) []byte {
	var out []byte
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "---") {
			out = append(out, line...)
		}
	}
	return out
}

func abs(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
