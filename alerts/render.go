package alerts

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Format is a form in which rules are read by somebody.
type Format string

// The forms.
const (
	Prometheus     Format = "prometheus"     // a rule file
	PrometheusRule Format = "prometheusrule" // the Kubernetes object of prometheus-operator
	VMAlert        Format = "vmalert"        // a rule file with groups of a stated type
)

const header = "# Made by semantic; do not edit: set parameters instead (semantic rules parameters).\n"

// Render writes the groups in a form.
func Render(groups []Group, format Format) ([]byte, error) {
	type file struct {
		Groups any `yaml:"groups"`
	}
	switch format {
	case Prometheus:
		return encode(file{groups})
	case VMAlert:
		type group struct {
			Name  string `yaml:"name"`
			Type  string `yaml:"type"`
			Rules []Rule `yaml:"rules"`
		}
		var typed []group
		for _, g := range groups {
			typed = append(typed, group{g.Name, "prometheus", g.Rules})
		}
		return encode(file{typed})
	case PrometheusRule:
		type metadata struct {
			Name   string            `yaml:"name"`
			Labels map[string]string `yaml:"labels"`
		}
		return encode(struct {
			APIVersion string   `yaml:"apiVersion"`
			Kind       string   `yaml:"kind"`
			Metadata   metadata `yaml:"metadata"`
			Spec       file     `yaml:"spec"`
		}{
			"monitoring.coreos.com/v1", "PrometheusRule",
			metadata{"semantic", map[string]string{"app.kubernetes.io/name": "semantic", "role": "alert-rules"}}, file{groups},
		})
	}
	return nil, fmt.Errorf("there is no format %q of alert rules", format)
}

// Parse reads rules back that were rendered in Prometheus's form.
func Parse(text []byte) ([]Group, error) {
	var file struct {
		Groups []Group `yaml:"groups"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("these are no alert rules: %w", err)
	}
	if len(file.Groups) == 0 {
		return nil, errors.New("these are no alert rules: there is no group")
	}
	return file.Groups, nil
}

func encode(v any) ([]byte, error) {
	b := bytes.NewBufferString(header)
	enc := yaml.NewEncoder(b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("cannot write the alert rules: %w", err)
	}
	return b.Bytes(), enc.Close()
}
