package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// Setting is one setting's effective value and where it comes from.
type Setting struct {
	Name    string // the flag's name without dashes, which is the YAML key
	Value   string // as the flag would take it
	Source  string // "default", "flag", "environment SEMANTIC_X" or "file:line"
	Default bool   // nobody set it
	InFile  bool   // the file of --config set it
	Secret  bool   // never printed
	env     string
}

// Settings lists the settings of the chosen command in the order of its help,
// with the values that they have now.
func (p *Parsed) Settings() []Setting {
	ctx, file := p.Context, p.file
	given := map[*kong.Flag]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag] = true
		}
	}
	var out []Setting
	for _, f := range ctx.Flags() {
		if f.Name == "help" || f.Name == "print-config" {
			continue
		}
		s := Setting{Name: f.Name, Value: text(f), Secret: f.Tag.Has("secret")}
		if len(f.Envs) > 0 {
			s.env = f.Envs[0]
		}
		switch v, inFile := file.values[f.Name]; {
		case given[f]:
			s.Source = "flag"
		case fromEnviron(f):
			s.Source = "environment " + s.env
		case inFile:
			s.Source, s.InFile = fmt.Sprintf("%s:%d", file.path, v.line), true
		default:
			s.Source, s.Default = "default", true
		}
		out = append(out, s)
	}
	return out
}

// text renders a flag's value as the flag would take it.
func text(f *kong.Flag) string {
	v := f.Target
	if v.Kind() == reflect.Slice {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = scalar(v.Index(i))
		}
		return kong.JoinEscaped(items, f.Tag.Sep)
	}
	return scalar(v)
}

func scalar(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v.Interface())
}

// Print writes the settings as a YAML file that --config takes, each with its
// source; secrets are masked.
func Print(w io.Writer, settings []Setting) error {
	for _, s := range settings {
		if s.Name == ConfigFlag {
			continue
		}
		value := s.Value
		if s.Secret && value != "" {
			value = "********"
		}
		node := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
		if value == "" {
			node.Style = yaml.DoubleQuotedStyle // nothing at all would be null
		}
		line, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: s.Name}, node,
		}})
		if err != nil {
			return fmt.Errorf("cannot print setting %s: %w", s.Name, err)
		}
		if _, err := fmt.Fprintf(w, "%s # %s\n", strings.TrimRight(string(line), "\n"), s.Source); err != nil {
			return err
		}
	}
	return nil
}

// Environ returns base without any setting of ours, plus the settings that were
// set: the environment of a child process that shall see the same values. They
// travel here and not as arguments, which every user of the host may read.
func Environ(base []string, settings []Setting) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		return strings.HasPrefix(kv, EnvPrefix+"_") && !isServiceLink(kv)
	})
	for _, s := range settings {
		if !s.Default && s.Name != ConfigFlag && s.env != "" {
			env = append(env, s.env+"="+s.Value)
		}
	}
	return env
}
