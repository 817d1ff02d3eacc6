package alerts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Rule is a rule with its values, as Prometheus reads it.
type Rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Name is the alert's, or the recorded series'.
func (r Rule) Name() string { return r.Alert + r.Record }

// Group is rules that are evaluated one after the other.
type Group struct {
	Name  string `yaml:"name"`
	Rules []Rule `yaml:"rules"`
}

// Links say where the annotations point.
type Links struct {
	Runbooks  string // the alert's name is put behind it
	Dashboard string
}

var reference = regexp.MustCompile(`\$\{([a-z0-9_]+)\}`)

// Expand puts values into all rules.
func Expand(v Values, links Links) ([]Group, error) {
	var groups []Group
	for _, g := range loaded().groups {
		out := Group{Name: g.Name}
		for _, r := range g.Rules {
			windows := r.Windows
			if len(windows) == 0 {
				windows = []string{""}
			}
			for _, w := range windows {
				rule, err := r.expand(v, w, links)
				if err != nil {
					return nil, fmt.Errorf("alert rules: %s: %w", r.Alert+r.Record, err)
				}
				out.Rules = append(out.Rules, rule)
			}
		}
		groups = append(groups, out)
	}
	return groups, nil
}

func (r ruleData) expand(v Values, window string, links Links) (Rule, error) {
	var missing string
	fill := func(text string) string {
		return strings.TrimSpace(reference.ReplaceAllStringFunc(text, func(ref string) string {
			name := reference.FindStringSubmatch(ref)[1]
			if name == "each" && window != "" {
				return window
			}
			value, ok := v[name]
			if !ok {
				missing = name
			}
			return value
		}))
	}
	out := Rule{Record: fill(r.Record), Alert: r.Alert, Expr: fill(r.Expr), For: fill(r.For)}
	if r.Alert != "" {
		out.Labels = map[string]string{"severity": r.Severity, "component": r.Component, "team": fill("${team}")}
		out.Annotations = map[string]string{
			"summary": fill(r.Summary), "description": fill(r.Description), "runbook_summary": fill(r.FirstSteps),
			"runbook_url": links.Runbooks + r.Alert, "dashboard_url": links.Dashboard,
		}
	}
	if missing != "" {
		return Rule{}, fmt.Errorf("it names a parameter %q, which there is not", missing)
	}
	return out, nil
}

// Hold returns how long an alert's expression must hold before it fires.
func (r Rule) Hold() (time.Duration, error) {
	var hold time.Duration
	for rest := r.For; rest != ""; {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("for: %s is no duration", r.For)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, fmt.Errorf("for: %s is no duration: %w", r.For, err)
		}
		hold += time.Duration(n) * units[m[2]]
		rest = rest[len(m[0]):]
	}
	return hold, nil
}

var durationPart = regexp.MustCompile(`^([0-9]+)(ms|s|m|h|d|w|y)`)

var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
}
