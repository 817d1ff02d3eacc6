package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/runbooks"
)

func TestEachAlertHasARunbookAndEachRunbookAnAlert(t *testing.T) {
	names, pages := alerts.Names(), runbooks.Names()
	slices.Sort(names)
	slices.Sort(pages)
	if !slices.Equal(names, pages) {
		t.Errorf("alerts %v\nrunbooks %v", names, pages)
	}
}

// Each name in each rule is one that the running pod exposes, so that no alert waits
// for a metric that does not exist.
func TestEachMetricOfTheRulesIsExposed(t *testing.T) {
	t.Parallel()
	p := podWithLimits(t)
	exposed := map[string]bool{"up": true} // Prometheus's own
	for _, url := range []string{p.url, p.sidecar} {
		for line := range strings.Lines(fetch(t, url+"/metrics")) {
			name, _, _ := strings.Cut(strings.ReplaceAll(line, "{", " "), " ")
			exposed[name] = true
		}
	}
	groups, err := alerts.Expand(alerts.Defaults(), alerts.Links{})
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	for _, g := range groups {
		for _, r := range g.Rules {
			recorded[r.Record] = r.Expr
		}
	}
	seen := 0
	for _, g := range groups {
		for _, r := range g.Rules {
			for _, m := range alerts.Metrics(r.Expr, recorded) {
				seen++
				if !exposed[m] {
					t.Errorf("%s asks for %s, which neither proxy nor sidecar exposes", r.Name(), m)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names were seen in the rules", seen)
	}
}

// podWithLimits has a key with limits, so that all metrics of keys are there.
func podWithLimits(t *testing.T) *pod {
	t.Helper()
	dir := shortDir(t)
	file := filepath.Join(dir, "own-keys.yaml")
	keysCommand(t, dir, "create", "--key-file", file, "--name", "ci", "--tenant", "acme", "--tokens-per-minute", "60000")
	return newPod(t, "--key-file", file)
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, resp.Status, err, body)
	}
	return string(body)
}

// block is a fenced block of a page.
type block struct{ kind, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// Each command of each runbook runs as it stands on the page that the pod serves, and
// says what the page says to expect.
func TestRunbooksRunAsWritten(t *testing.T) {
	p := sharedPod(t)
	for _, name := range runbooks.Names() {
		t.Run(name, func(t *testing.T) {
			text := fetch(t, p.sidecar+"/runbooks/"+name+".md")
			if !strings.HasPrefix(text, "# "+name+"\n") {
				t.Errorf("it begins with %.60q", text)
			}
			for _, section := range []string{"**It means**", "**Users feel**", "## Confirm", "## Likely causes", "## See that it worked", "## Escalate"} {
				if !strings.Contains(text, section) {
					t.Errorf("it has no %s", section)
				}
			}
			var blocks []block
			for _, m := range fence.FindAllStringSubmatch(text, -1) {
				blocks = append(blocks, block{m[1], m[2]})
			}
			if len(blocks) < 3 || blocks[0].kind != "sh" || !strings.Contains(blocks[0].text, p.url) {
				t.Fatalf("it does not begin with this pod's places: %+v", blocks)
			}
			for i, b := range blocks[1:] {
				switch {
				case b.kind == "sh" && i+2 < len(blocks) && blocks[i+2].kind == "output":
					expect(t, runShell(t, blocks[0].text+b.text), blocks[i+2].text, b.text)
				case b.kind == "sh":
					t.Errorf("no output is told for\n%s", b.text)
				}
			}
		})
	}
}

func runShell(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(semantic)+":"+os.Getenv("PATH"))
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// expect wants each line of the page's output somewhere in what was said, with
// anything for …
func expect(t *testing.T, said, page, script string) {
	t.Helper()
	for line := range strings.Lines(page) {
		pattern := "(?m)^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), "…", ".*") + "$"
		if !regexp.MustCompile(pattern).MatchString(said) {
			t.Errorf("%s\nsaid:\n%s\nand not: %s", script, tail(said, 2000), line)
		}
	}
}

// The page is HTML with this pod's own values, and the index leads to it.
func TestRunbooksShowLiveValues(t *testing.T) {
	t.Parallel()
	p := podWithLimits(t)
	index := fetch(t, p.sidecar+"/runbooks/")
	groups, err := alerts.Expand(alerts.Defaults(), alerts.Links{})
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	for _, g := range groups {
		for _, r := range g.Rules {
			recorded[r.Record] = r.Expr
		}
	}
	for _, g := range groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			if !strings.Contains(index, `<a href="`+r.Alert+`">`) {
				t.Errorf("the index does not lead to %s", r.Alert)
			}
			page := fetch(t, p.sidecar+"/runbooks/"+r.Alert)
			if !strings.Contains(page, "<h1>"+r.Alert+"</h1>") || !strings.Contains(page, "Users feel") || strings.Contains(page, "Not all could be read") {
				t.Errorf("%s: %s", r.Alert, tail(page, 1000))
			}
			for _, m := range alerts.Metrics(r.Expr, recorded) {
				_, values, _ := strings.Cut(page, "Values of this pod now")
				if m != "up" && !strings.Contains(values, strings.TrimSuffix(m, "_bucket")) {
					t.Errorf("%s shows no value of %s", r.Alert, m)
				}
			}
		}
	}
	resp, err := http.Get(p.sidecar + "/runbooks/NoSuchAlert")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown alert's page: %s", resp.Status)
	}
}
