package alerts

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parameter is a value that a deployment may set.
type Parameter struct {
	Name    string  `yaml:"name"`
	Kind    string  `yaml:"kind"` // ratio, number, duration, labels or pattern
	Default string  `yaml:"default"`
	Min     float64 `yaml:"min"` // of a number
	Help    string  `yaml:"help"`
}

// Parameters lists what may be set.
func Parameters() []Parameter { return slices.Clone(loaded().parameters) }

// Values holds a value for each parameter.
type Values map[string]string

// Defaults returns each parameter's default.
func Defaults() Values {
	v := Values{}
	for _, p := range loaded().parameters {
		v[p.Name] = p.Default
	}
	return v
}

// WithWords returns the values with those that words of the form NAME=VALUE set.
func (v Values) WithWords(words []string) (Values, error) {
	set := map[string]string{}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form NAME=VALUE", w)
		}
		if _, twice := set[name]; twice {
			return nil, fmt.Errorf("%s is set twice", name)
		}
		set[name] = value
	}
	return v.With(set)
}

// ParseFile reads a YAML file of parameters, "name: value" a line.
func ParseFile(text []byte) (map[string]string, error) {
	var set map[string]string
	if err := yaml.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("expected lines such as `pool_critical_ratio: 0.95`: %w", err)
	}
	return set, nil
}

// With returns the values with those set, each checked.
func (v Values) With(set map[string]string) (Values, error) {
	v = maps.Clone(v)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		i := slices.IndexFunc(loaded().parameters, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("there is no parameter %q of the alert rules (semantic rules parameters lists them)", name))
			continue
		}
		if err := loaded().parameters[i].check(set[name]); err != nil {
			errs = append(errs, err)
		}
		v[name] = set[name]
	}
	return v, errors.Join(errs...)
}

var (
	durationForm = regexp.MustCompile(`^([0-9]+(ms|s|m|h|d|w|y))+$`)
	labelForm    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// check refuses what would make the rules unreadable or mean something else.
func (p Parameter) check(value string) error {
	bad := func(want string) error {
		return fmt.Errorf("parameter %s=%q of the alert rules must be %s", p.Name, value, want)
	}
	switch p.Kind {
	case "ratio", "number":
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil || n != n || n-n != 0:
			return bad("a number")
		case p.Kind == "ratio" && (n < 0 || n > 1):
			return bad("from 0 to 1")
		case n < p.Min:
			return bad(fmt.Sprintf("at least %v", p.Min))
		}
	case "duration":
		if !durationForm.MatchString(value) {
			return bad("a duration as Prometheus writes it, such as 90s, 5m or 1h30m")
		}
	case "labels":
		for _, l := range strings.Split(value, ",") {
			if !labelForm.MatchString(strings.TrimSpace(l)) {
				return bad("names of labels, such as namespace, job")
			}
		}
	case "pattern":
		if _, err := regexp.Compile(value); err != nil || strings.ContainsAny(value, "\"\\\n") {
			return bad("a regular expression without quotes and backslashes")
		}
	}
	return nil
}
