package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine"
	"github.com/semantic-pod/semantic/proxy"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/telemetry"
)

var updatePages = flag.Bool("update", false, "write the pages of docs/ that are generated from the code")

const metricsPage = "../../docs/metrics.md"

// TestMetricsPageIsThatOfTheCode holds docs/metrics.md against the families that the
// three processes declare.
func TestMetricsPageIsThatOfTheCode(t *testing.T) {
	want := renderMetricsPage(declaredMetrics(t))
	if *updatePages {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatalf("%v; run: make docs", err)
	}
	if string(have) != want {
		t.Errorf("docs/metrics.md is not what the code says; run: make docs\n%s", firstDifference(string(have), want))
	}
}

func firstDifference(have, want string) string {
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nand should be\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, and should be %d", len(a), len(b))
}

// documented is a family with the processes that have it.
type documented struct {
	telemetry.Described
	processes []string
}

// declaredMetrics makes the three processes as they are with all that brings series,
// and lists what they declare.
func declaredMetrics(t *testing.T) []documented {
	t.Helper()
	dir := t.TempDir()
	parsed := map[string]func(*telemetry.Log) *telemetry.Metrics{
		"proxy": func(log *telemetry.Log) *telemetry.Metrics {
			var cmds commands
			parseFor(t, &cmds, "proxy", "--data-dir", dir, "--api-keys", "page:0123456789abcdef0123456789abcdef")
			check(t, cmds.Proxy.complete())
			p, err := proxy.New(*cmds.Proxy.Proxy.config(), log)
			check(t, err)
			return p.Metrics()
		},
		"engine": func(log *telemetry.Log) *telemetry.Metrics {
			var cmds commands
			model := filepath.Join(dir, "page.gguf")
			check(t, os.WriteFile(model, nil, 0o600))
			parseFor(t, &cmds, "engine", "--data-dir", dir, "--model", model)
			check(t, cmds.Engine.Shared.complete())
			check(t, completeEngine(cmds.Engine.Engine.config(), &cmds.Engine.Shared))
			e, err := engine.New(*cmds.Engine.Engine.config(), log)
			check(t, err)
			return e.Metrics()
		},
		"sidecar": func(log *telemetry.Log) *telemetry.Metrics {
			var cmds commands
			parseFor(t, &cmds, "sidecar", "--data-dir", dir)
			check(t, cmds.Sidecar.Shared.complete())
			completeSidecar(cmds.Sidecar.Sidecar.config(), &cmds.Sidecar.Shared, defaultProxyURL)
			s, err := sidecar.New(*cmds.Sidecar.Sidecar.config(), log)
			check(t, err)
			return s.Metrics()
		},
	}
	byName := map[string]*documented{}
	for _, process := range []string{"proxy", "engine", "sidecar"} {
		log, err := telemetry.OpenLog(telemetry.LogConfig{Process: process, Dir: t.TempDir(), Stderr: new(strings.Builder)})
		check(t, err)
		t.Cleanup(func() { log.Close() })
		for _, d := range parsed[process](log).Describe() {
			if byName[d.Name] == nil {
				byName[d.Name] = &documented{Described: d}
			}
			known := byName[d.Name]
			if known.Kind != d.Kind || known.Help != d.Help || !slices.Equal(known.Labels, d.Labels) {
				t.Errorf("%s is declared differently in %v and %s", d.Name, known.processes, process)
			}
			known.processes = append(known.processes, process)
		}
	}
	all := make([]documented, 0, len(byName))
	for _, d := range byName {
		all = append(all, *d)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func parseFor(t *testing.T, cmds *commands, args ...string) {
	t.Helper()
	exited := -1
	var out strings.Builder
	if _, err := parse(cmds, args, &out, &out, &exited); err != nil || exited >= 0 {
		t.Fatalf("semantic %s: %v %s", strings.Join(args, " "), err, &out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const metricsIntro = `# Metrics

<!-- Written from the code by "make docs"; a test fails when the two differ. -->

` + "`GET /metrics`" + ` of the proxy has the families of proxy and engine, merged; the sidecar's, on its own port, has its own. The
text format is 0.0.4; with ` + "`Accept: application/openmetrics-text`" + ` it is OpenMetrics 1.0, where the buckets of
requests that were traced carry the ` + "`trace_id`" + ` as an exemplar. Every series whose labels are known is there from the start.
Labels are bounded: ` + "`path`" + ` is the route's template or ` + "`other`" + `, ` + "`key`" + ` one of the first 50 keys of the key file or ` + "`other`" + `.

| section | |
|---|---|
`

// renderMetricsPage writes the page.
func renderMetricsPage(all []documented) string {
	sections := []struct{ title, about, prefix string }{
		{"Semantic's own", "what the pod is and does", "semantic_"},
		{"vLLM's names", "the engine's figures for dashboards and routers that know vLLM", "vllm:"},
		{"Processes", "what the operating system says of each process", "process_"},
		{"Go runtime", "what the Go runtime says of itself in each process", "go_"},
	}
	var b strings.Builder
	b.WriteString(metricsIntro)
	for _, s := range sections {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", s.title, strings.NewReplacer(" ", "-", "'", "").Replace(strings.ToLower(s.title)), s.about)
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| name | type | labels | of | |\n|---|---|---|---|---|\n", s.title)
		for _, d := range all {
			if strings.HasPrefix(d.Name, s.prefix) {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.Name, d.Kind, quoted(d.Labels), strings.Join(d.processes, ", "), strings.ReplaceAll(d.Help, "|", "\\|"))
			}
		}
	}
	b.WriteString("\n## Buckets\n\nUpper bounds of the histograms; `+Inf` comes after them.\n\n| histogram | bounds |\n|---|---|\n")
	for _, d := range all {
		if d.Kind == "histogram" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", d.Name, bounds(d.Bounds))
		}
	}
	return b.String()
}

func quoted(labels []string) string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = "`" + l + "`"
	}
	return strings.Join(out, ", ")
}

func bounds(all []float64) string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(out, " ")
}
