package sidecar

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Followed names the settings that decide what the rules are, and that are read again
// from the file of settings when it changes. A flag or a variable goes before the file.
var Followed = []string{"alert-set", "alert-file", "external-url", "dashboard-url"}

const defaultDashboard = "http://127.0.0.1:3000/d/semantic"

// words are one value with commas, or a list.
type words []string

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(w))
	}
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	*w = strings.Split(text, ",")
	return nil
}

// now returns the settings with what the file of settings says at this moment.
func (c *RulesConfig) now() (RulesConfig, error) {
	is := *c
	if c.Follow == "" {
		return is, nil
	}
	text, err := os.ReadFile(c.Follow)
	if err != nil {
		return is, fmt.Errorf("cannot read --config again: %w", err)
	}
	file := struct {
		Set       words  `yaml:"alert-set"`
		File      string `yaml:"alert-file"`
		External  string `yaml:"external-url"`
		Dashboard string `yaml:"dashboard-url"`
	}{Dashboard: defaultDashboard}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return is, fmt.Errorf("cannot read --config=%s again: %w", c.Follow, err)
	}
	follows := func(name string) bool { return !slices.Contains(c.Fixed, name) }
	if follows("alert-set") {
		is.Set = file.Set
	}
	if follows("alert-file") {
		is.File = file.File
	}
	if follows("external-url") {
		is.ExternalURL = file.External
	}
	if follows("dashboard-url") {
		is.DashboardURL = file.Dashboard
	}
	for name, u := range map[string]string{"external-url": is.ExternalURL, "dashboard-url": is.DashboardURL} {
		if u != "" && !isWebAddress(u) {
			return is, fmt.Errorf("--config=%s: %s: %s is no address such as http://localhost:9090", c.Follow, name, u)
		}
	}
	return is, nil
}
