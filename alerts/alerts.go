// Package alerts holds the alert rules and recording rules as data, with their
// thresholds as parameters, and renders them in the forms that Prometheus, its
// operator and vmalert read.
//
// Read: alerts (what there is), parameters (what can be set), expand (one rule with
// its values), render (the three forms). The data is in parameters.yaml and rules/.
package alerts

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed parameters.yaml rules/*.yaml
var data embed.FS

// Severities, from the one that wakes somebody to the one that nobody need act on.
const (
	Critical = "critical" // page
	Warning  = "warning"  // ticket
	Info     = "info"
)

// Watchdog always fires: that it arrives proves the way of all others.
const Watchdog = "Watchdog"

// ruleData is a rule as the files in rules/ have it. The texts hold ${parameter}.
type ruleData struct {
	Record  string   `yaml:"record"`
	Alert   string   `yaml:"alert"`
	Windows []string `yaml:"windows"` // one rule for each, with ${each}
	Expr    string   `yaml:"expr"`
	For     string   `yaml:"for"`

	Severity    string `yaml:"severity"`
	Component   string `yaml:"component"`
	Summary     string `yaml:"summary"`
	Description string `yaml:"description"`
	FirstSteps  string `yaml:"first_steps"` // readable while the pod with its runbooks is dead
}

type groupData struct {
	Name  string     `yaml:"group"`
	Rules []ruleData `yaml:"rules"`
}

// ruleSet is the data of this binary.
type ruleSet struct {
	parameters []Parameter
	groups     []groupData
}

// loaded is read when it is first asked for: most processes start without. That it is well formed is
// held by the tests.
var loaded = sync.OnceValue(func() (l ruleSet) {
	must(decode("parameters.yaml", &l.parameters))
	names, err := fs.Glob(data, "rules/*.yaml")
	must(err)
	for _, name := range names {
		var g groupData
		must(decode(name, &g))
		l.groups = append(l.groups, g)
	}
	return l
})

func decode(name string, into any) error {
	text, err := data.ReadFile(name)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("alerts: %s: %w", path.Base(name), err)
	}
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Names lists the alerts in the order of the files.
func Names() []string {
	var names []string
	for _, g := range loaded().groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				names = append(names, r.Alert)
			}
		}
	}
	return names
}
