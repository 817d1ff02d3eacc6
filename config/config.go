package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix stands before a flag's name in capitals: --log-dir is SEMANTIC_LOG_DIR.
const EnvPrefix = "SEMANTIC"

// ErrUsage marks every error of the command line, the environment or the YAML
// file: the process exits with status 2.
var ErrUsage = errors.New("usage")

// App describes a command line to parse.
type App struct {
	Name, Description string
	Commands          any // pointer to a struct with kong's tags
	Stdout, Stderr    io.Writer
	Exit              func(int)
	Vars              kong.Vars
}

// Parsed is a command line with every setting resolved.
type Parsed struct {
	Context *kong.Context
	file    *yamlFile
}

// Parse resolves args, the environment and the YAML file named by --config into
// app.Commands. An error wraps ErrUsage and names the flag, the environment
// variable, or the file, line and key that is wrong.
func Parse(app App, args []string) (*Parsed, error) {
	file := &yamlFile{}
	k, err := kong.New(app.Commands,
		kong.Name(app.Name), kong.Description(app.Description),
		kong.Writers(app.Stdout, app.Stderr), kong.Exit(app.Exit), app.Vars,
		kong.DefaultEnvars(EnvPrefix), kong.Resolvers(file),
		kong.ValueFormatter(describe),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return nil, err
	}
	if err := checkEnviron(k.Model, os.Environ()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	ctx, err := k.Parse(args)
	if file.err != nil {
		err = file.err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return &Parsed{Context: ctx, file: file}, nil
}

// describe is a setting's line in the help: what it is, its default where kong shows
// the kind of value in its place, and its environment variable.
func describe(v *kong.Value) string {
	var known []string
	if v.HasDefault && v.Flag != nil && v.Flag.PlaceHolder != "" {
		known = append(known, "default "+v.Default)
	}
	for _, e := range v.Tag.Envs {
		known = append(known, "$"+e)
	}
	if len(known) == 0 {
		return v.Help
	}
	return fmt.Sprintf("%s (%s).", strings.TrimSuffix(v.Help, "."), strings.Join(known, ", "))
}

// checkEnviron refuses a SEMANTIC_ variable that no flag of any command reads: a
// typing error there would otherwise be ignored in silence.
func checkEnviron(app *kong.Application, environ []string) error {
	known := map[string]bool{}
	for _, f := range allFlags(app.Node) {
		for _, e := range f.Envs {
			known[e] = true
		}
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix+"_") || known[name] || isServiceLink(name) {
			continue
		}
		return fmt.Errorf("environment variable %s is no setting of semantic%s", name, suggest(name, known))
	}
	return nil
}

// isServiceLink recognises what Kubernetes sets for a Service called "semantic".
func isServiceLink(name string) bool {
	return strings.HasPrefix(name, EnvPrefix+"_SERVICE_") || strings.HasPrefix(name, EnvPrefix+"_PORT_")
}

func allFlags(n *kong.Node) []*kong.Flag {
	flags := n.Flags
	for _, c := range n.Children {
		flags = append(flags[:len(flags):len(flags)], allFlags(c)...)
	}
	return flags
}

// suggest names the known word nearest to name, if one is near.
func suggest[T any](name string, known map[string]T) string {
	best, at := "", 4
	for k := range known {
		if d := distance(name, k); d < at || d == at && k < best {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the Levenshtein distance between two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
