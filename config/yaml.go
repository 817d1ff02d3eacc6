package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// ConfigFlag is the name of the flag that names the YAML file.
const ConfigFlag = "config"

// yamlFile resolves flags from the file that --config names. One file may hold
// the keys of every command, so that the three processes share it; a key that no
// command knows is an error.
type yamlFile struct {
	loaded bool
	path   string
	values map[string]yamlValue
	err    error
}

type yamlValue struct {
	text string
	line int
}

// Validate implements kong.Resolver; the file is checked when it is loaded.
func (y *yamlFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver: the file's value of a flag that neither the
// command line nor the environment gave.
func (y *yamlFile) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	y.load(ctx)
	if y.err != nil {
		return nil, nil // Parse reports it once, without kong's prefix of a flag
	}
	v, ok := y.values[flag.Name]
	if !ok || fromEnviron(flag) || argumentOnly(flag) {
		return nil, nil
	}
	return v.text, nil
}

func (y *yamlFile) load(ctx *kong.Context) {
	if y.loaded {
		return
	}
	y.loaded = true
	for _, f := range ctx.Flags() {
		if f.Name == ConfigFlag {
			y.path, _ = ctx.FlagValue(f).(string)
		}
	}
	if y.path != "" {
		y.values, y.err = readYAML(y.path, ctx.Model.Node)
	}
}

// readYAML reads a file of flat keys and checks each against the flags of all
// commands: name, value and doubles.
func readYAML(path string, app *kong.Node) (map[string]yamlValue, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read --config: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("cannot read --config=%s: %w", path, err)
	}
	values := map[string]yamlValue{}
	if len(doc.Content) == 0 {
		return values, nil // an empty file sets nothing
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: expected keys with values, such as `port: 8000`", path, root.Line)
	}
	flags := map[string]*kong.Flag{}
	for _, f := range allFlags(app) {
		if f.Name != "help" && f.Name != ConfigFlag && !argumentOnly(f) {
			flags[f.Name] = f
		}
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, val := root.Content[i], root.Content[i+1]
		v, err := readKey(key, val, flags, values)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, key.Line, err)
		}
		values[key.Value] = v
	}
	return values, nil
}

func readKey(key, val *yaml.Node, flags map[string]*kong.Flag, seen map[string]yamlValue) (yamlValue, error) {
	flag, ok := flags[key.Value]
	if !ok {
		return yamlValue{}, fmt.Errorf("unknown key %q%s", key.Value, suggest(key.Value, flags))
	}
	if first, ok := seen[key.Value]; ok {
		return yamlValue{}, fmt.Errorf("key %q was set on line %d before", key.Value, first.line)
	}
	text, err := yamlText(val, flag)
	if err != nil {
		return yamlValue{}, fmt.Errorf("key %q: %w", key.Value, err)
	}
	// Decode into a scratch value, so that a bad one is blamed on its line.
	scratch := reflect.New(flag.Target.Type()).Elem()
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: text})
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, scratch); err != nil {
		return yamlValue{}, fmt.Errorf("key %q: %w", key.Value, err)
	}
	if flag.Enum != "" && !flag.EnumMap()[text] {
		return yamlValue{}, fmt.Errorf("key %q: %q must be one of %s", key.Value, text, strings.Join(flag.EnumSlice(), ", "))
	}
	return yamlValue{text: text, line: key.Line}, nil
}

var errShape = errors.New("expected one value, or a list of values where the flag takes several")

// yamlText renders a YAML value as the text that the flag would take.
func yamlText(n *yaml.Node, flag *kong.Flag) (string, error) {
	switch {
	case n.Kind == yaml.AliasNode:
		return yamlText(n.Alias, flag)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", errors.New("has no value: remove the line for the default")
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.SequenceNode && flag.IsSlice():
		items := make([]string, len(n.Content))
		for i, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return "", errShape
			}
			items[i] = c.Value
		}
		return kong.JoinEscaped(items, flag.Tag.Sep), nil
	}
	return "", errShape
}

// argumentOnly tells a flag that says what to do this time, such as a key's name,
// from a setting: env:"-" keeps it out of the environment, and here out of the file.
func argumentOnly(flag *kong.Flag) bool { return flag.Tag.Get("env") == "-" }

func fromEnviron(flag *kong.Flag) bool {
	for _, e := range flag.Envs {
		if _, ok := os.LookupEnv(e); ok {
			return true
		}
	}
	return false
}
