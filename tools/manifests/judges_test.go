package manifests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelmLints(t *testing.T) {
	for _, v := range variants {
		cmd := exec.Command(helm, append([]string{"lint", "--strict", chart}, v.args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, out)
		}
	}
}

// What checkov asks for is there. Only of an image that was never pushed nobody can
// know the digest, nor fetch it each time: the production variant has both.
func TestPolicyScan(t *testing.T) {
	for _, c := range []struct {
		variant variant
		skip    string
	}{{variants[0], "CKV_K8S_43,CKV_K8S_15"}, {variants[3], ""}} {
		text, err := render(append([]string{"--set", "createNamespace=true"}, c.variant.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "manifest.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--file", path, "--framework", "kubernetes", "--compact", "--quiet", "--skip-download", "--output", "json"}
		if c.skip != "" {
			args = append(args, "--skip-check", c.skip)
		}
		out, err := exec.Command(scan, args...).Output()
		var report struct {
			Results struct {
				Failed []struct {
					ID       string `json:"check_id"`
					Name     string `json:"check_name"`
					Resource string `json:"resource"`
				} `json:"failed_checks"`
			}
			Summary struct{ Passed, Failed int }
		}
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%s: %v, %v\n%s", c.variant.name, err, jsonErr, out)
		}
		for _, f := range report.Results.Failed {
			t.Errorf("%s: %s %s: %s", c.variant.name, f.ID, f.Resource, f.Name)
		}
		if report.Summary.Passed < 70 {
			t.Errorf("%s: only %d checks passed", c.variant.name, report.Summary.Passed)
		}
	}
}

func TestRenderedManifestsAreCurrent(t *testing.T) {
	cmd := exec.Command(root+"/tools/manifests.sh", "--check")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The rules of the chart are the rules of the binary, with the links of the release.
func TestRulesPointAtTheirRelease(t *testing.T) {
	text, err := render("--set", "externalURL=https://runbooks.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "runbook_url: https://runbooks.example.com/runbooks/SemanticEngineDown") || strings.Contains(text, ".invalid") {
		t.Error("runbook_url does not follow externalURL")
	}
}
