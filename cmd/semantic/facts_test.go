package main

import (
	"encoding/json"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/semantic-pod/semantic/alerts"
)

const builtinModel = "../../tools/builtin-model/"

// facts is what the built-in model was taught of the pod, as tools/builtin-model/facts.py reads it.
type facts struct {
	Metrics  []struct{ Name, Type, Text string }
	Alerts   []struct{ Name, Severity string }
	Commands []struct{ Name, Text string }
	Flags    []struct{ Name, Text, Default string }
}

// surface is what a person may name of the pod, as the code has it.
type surface struct {
	metrics  map[string]string // by name: the type
	alerts   []string
	commands map[string]string // by path: the help
	flags    map[string]*kong.Flag
}

func surfaceOf(t *testing.T) surface {
	t.Helper()
	s := surface{metrics: map[string]string{}, alerts: alerts.Names(), commands: map[string]string{}, flags: map[string]*kong.Flag{}}
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_:]+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(page), -1) {
		s.metrics[m[1]] = m[2]
	}
	var cmds commands
	exited := -1
	parsed, err := parse(&cmds, []string{"version"}, io.Discard, io.Discard, &exited)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		for _, f := range n.Flags {
			s.flags[f.Name] = f
		}
		for _, child := range n.Children {
			p := strings.TrimSpace(path + " " + child.Name)
			s.commands[p] = child.Help
			walk(child, p)
		}
	}
	walk(parsed.Context.Model.Node, "")
	return s
}

// TestTheBuiltInModelsFactsHold says which metrics, alerts, commands and settings the built-in model
// was taught, is taught or is examined on that the code does not have. What the code has beside them
// it says too: the model does not know that until it is trained anew.
func TestTheBuiltInModelsFactsHold(t *testing.T) {
	code := surfaceOf(t)
	text, err := os.ReadFile(builtinModel + "facts.json")
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Metrics) < 50 || len(f.Alerts) < 20 || len(f.Commands) < 10 || len(f.Flags) < 50 {
		t.Fatalf("facts.json has %d metrics, %d alerts, %d commands, %d flags", len(f.Metrics), len(f.Alerts), len(f.Commands), len(f.Flags))
	}
	var known []string
	for _, m := range f.Metrics {
		known = append(known, m.Name)
		if kind := code.metrics[m.Name]; kind != m.Type {
			t.Errorf("the metric %s is said to be a %s, and is %q", m.Name, m.Type, kind)
		}
	}
	for _, a := range f.Alerts {
		known = append(known, a.Name)
		if !slices.Contains(code.alerts, a.Name) {
			t.Errorf("there is no alert %s", a.Name)
		}
	}
	for _, c := range f.Commands {
		known = append(known, c.Name)
		if _, has := code.commands[c.Name]; !has {
			t.Errorf("there is no command %s", c.Name)
		}
	}
	for _, s := range f.Flags {
		known = append(known, "--"+s.Name)
		flag := code.flags[s.Name]
		if flag == nil {
			t.Errorf("there is no setting --%s", s.Name)
		} else if s.Default != "" && flag.Default != s.Default {
			t.Errorf("the default of --%s is said to be %s, and is %s", s.Name, s.Default, flag.Default)
		}
	}
	code.unknown(t, known)
	code.mentions(t, "topics.yaml", regexp.MustCompile(`(?s).*`))
	code.mentions(t, "exam.json", regexp.MustCompile(`"answer": .*`))
}

// unknown lists what the facts do not have.
func (s surface) unknown(t *testing.T, known []string) {
	t.Helper()
	var fresh []string
	for name := range s.metrics {
		if strings.HasPrefix(name, "semantic_") {
			fresh = append(fresh, name)
		}
	}
	fresh = append(fresh, s.alerts...)
	for name, flag := range s.flags {
		if !flag.Hidden && slices.Contains([]string{"Proxy", "Engine", "Sidecar"}, groupOf(flag)) {
			fresh = append(fresh, "--"+name)
		}
	}
	fresh = slices.DeleteFunc(fresh, func(name string) bool { return slices.Contains(known, name) })
	slices.Sort(fresh)
	if len(fresh) > 0 {
		t.Logf("the built-in model's facts do not have yet: %s", strings.Join(slices.Compact(fresh), ", "))
	}
}

func groupOf(flag *kong.Flag) string {
	if flag.Group == nil {
		return ""
	}
	return flag.Group.Key
}

// mentions holds every name in those parts of a file against the code.
func (s surface) mentions(t *testing.T, file string, part *regexp.Regexp) {
	t.Helper()
	text, err := os.ReadFile(builtinModel + file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Join(part.FindAllString(string(text), -1), "\n")
	seen := 0
	for form, exists := range map[string]func(string) bool{
		`--[a-z][a-z0-9-]+`: func(n string) bool {
			return s.flags[n[2:]] != nil || s.flags[strings.TrimPrefix(n[2:], "no-")] != nil || slices.Contains([]string{"--help", "--admin", "--web"}, n)
		},
		`\bsemantic_[a-z_]+`:       func(n string) bool { return s.metrics[n] != "" || s.metrics[strings.TrimSuffix(n, "_bucket")] != "" },
		`\bvllm:[a-z_]+`:           func(n string) bool { return s.metrics[n] != "" },
		`\bSemantic[A-Z][A-Za-z]+`: func(n string) bool { return slices.Contains(s.alerts, n) },
		`\bSEMANTIC_[A-Z][A-Z0-9_]+`: func(n string) bool {
			return s.flags[strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(n, "SEMANTIC_")), "_", "-")] != nil
		},
	} {
		for _, name := range regexp.MustCompile(form).FindAllString(parts, -1) {
			seen++
			if !exists(name) {
				t.Errorf("%s speaks of %s, which there is not", file, name)
			}
		}
	}
	if seen == 0 {
		t.Errorf("%s speaks of nothing: is the pattern right?", file)
	}
}
