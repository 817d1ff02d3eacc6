package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/semantic-pod/semantic/engine"
	"github.com/semantic-pod/semantic/engine/fetch"
)

// modelCmd is about the files of models.
type modelCmd struct {
	List    modelListCmd    `cmd:"" help:"List the GGUF files in the folders where models are looked for."`
	Inspect modelInspectCmd `cmd:"" help:"Show what a GGUF file holds, and whether it can be served."`
	Pull    modelPullCmd    `cmd:"" help:"Fetch a model over HTTP and keep it if its SHA-256 is the one given. What was cut off is gone on with."`
}

// modelFolders says where models are.
type modelFolders struct {
	Config  string `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	DataDir string `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state; models are in its folder models."`
}

type modelListCmd struct {
	Folders modelFolders `embed:""`
	Output  string       `name:"output" short:"o" enum:"table,json" default:"table" env:"-" help:"Form of the list: table or json."`
}

func (c *modelListCmd) Run(w *world) error {
	rows := []*engine.ModelFile{}
	seen := map[string]bool{}
	for _, dir := range modelPlaces(c.Folders.DataDir) {
		names, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
		if err != nil {
			return err
		}
		for _, name := range names {
			whole, err := filepath.EvalSymlinks(name)
			if err == nil {
				whole, err = filepath.Abs(whole)
			}
			if err != nil || seen[whole] {
				continue
			}
			seen[whole] = true
			m, err := engine.ReadModelFile(whole)
			if err != nil {
				m = &engine.ModelFile{Path: whole, Fault: err.Error()}
			}
			rows = append(rows, m)
		}
	}
	if c.Output == "json" {
		return printJSON(w.stdout, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintf(w.stderr, "semantic: there are no models in %s\n", strings.Join(modelPlaces(c.Folders.DataDir), ", "))
		return nil
	}
	return printModels(w.stdout, rows)
}

func printModels(out io.Writer, rows []*engine.ModelFile) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tARCHITECTURE\tPARAMETERS\tTYPE\tCONTEXT\tSIZE\tPATH")
	for _, m := range rows {
		name := strings.TrimSuffix(filepath.Base(m.Path), ".gguf")
		if m.Fault != "" {
			fmt.Fprintf(t, "%s\tcannot be read: %s\t\t\t\t\t%s\n", name, m.Fault, m.Path)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%.0fM\t%s\t%d\t%s\t%s\n", name, m.Architecture, float64(m.Parameters)/1e6, mainType(m), m.Context, mebibytes(m.Bytes), m.Path)
	}
	return t.Flush()
}

// mainType is the type of most of a model's bytes.
func mainType(m *engine.ModelFile) string {
	types := slices.Sorted(maps.Keys(m.Types))
	if len(types) == 0 {
		return "-"
	}
	return slices.MaxFunc(types, func(a, b string) int { return int(m.Types[a] - m.Types[b]) })
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type modelInspectCmd struct {
	Path   string `arg:"" help:"GGUF file."`
	Output string `name:"output" short:"o" enum:"table,json" default:"table" env:"-" help:"Form of what is shown: table or json."`
}

func (c *modelInspectCmd) Run(w *world) error {
	m, err := engine.InspectModel(c.Path)
	if err != nil {
		return fmt.Errorf("cannot inspect %s: %w", c.Path, err)
	}
	if c.Output == "json" {
		err = printJSON(w.stdout, m)
	} else {
		err = printModel(w.stdout, m)
	}
	if err == nil && m.Fault != "" {
		err = fmt.Errorf("%s cannot be served: %s", c.Path, m.Fault)
	}
	return err
}

func printModel(out io.Writer, m *engine.ModelFile) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("path", "%s (%s)", m.Path, mebibytes(m.Bytes))
	line("name", "%s", m.Name)
	line("architecture", "%s, %d layers, %.1f million parameters, %d tokens in the vocabulary", m.Architecture, m.Layers, float64(m.Parameters)/1e6, m.Vocabulary)
	line("context", "%d tokens", m.Context)
	for _, name := range slices.Sorted(maps.Keys(m.Types)) {
		line("tensors of "+name, "%s", mebibytes(m.Types[name]))
	}
	if m.Fault != "" {
		line("served", "no: %s", m.Fault)
		return t.Flush()
	}
	line("served", "yes, with %s of weights in memory and %d bytes for each token of a context", mebibytes(int64(m.WeightBytes)), m.KVTokenBytes)
	line("fingerprint", "%s", m.Fingerprint)
	if m.ChatTemplate {
		line("chat template", "yes; tools by %s prompt", m.ToolPrompt)
	} else {
		line("chat template", "no: completions alone")
	}
	return t.Flush()
}

type modelPullCmd struct {
	URL     string        `arg:"" help:"Address of the file, http or https."`
	SHA256  string        `name:"sha256" required:"" env:"-" placeholder:"HEX" help:"SHA-256 of the file, 64 hexadecimal digits. Another file is not kept."`
	Name    string        `name:"name" env:"-" placeholder:"NAME" help:"Name of the file; by default the last part of the address."`
	Retries int           `name:"retries" default:"8" env:"-" help:"Attempts one after the other without a new byte until it is given up."`
	Stall   time.Duration `name:"stall" default:"30s" env:"-" help:"Time without a byte after which a connection is given up."`
	Folders modelFolders  `embed:""`
}

func (c *modelPullCmd) Run(w *world) error {
	target, err := c.target()
	if err != nil {
		return usage(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := fetch.Fetch(ctx, fetch.Options{
		URL: c.URL, SHA256: c.SHA256, Path: target, Retries: c.Retries, Stall: c.Stall,
		Progress: func(done, total int64) {
			if total > 0 {
				fmt.Fprintf(w.stderr, "semantic: %s of %s\n", mebibytes(done), mebibytes(total))
			} else {
				fmt.Fprintf(w.stderr, "semantic: %s\n", mebibytes(done))
			}
		},
	})
	if err != nil {
		return err
	}
	switch {
	case r.Already:
		fmt.Fprintf(w.stderr, "semantic: it was there already (%s)\n", mebibytes(r.Bytes))
	case r.Resumed > 0:
		fmt.Fprintf(w.stderr, "semantic: %s, of which %s were there before\n", mebibytes(r.Bytes), mebibytes(r.Resumed))
	}
	if _, err := engine.ReadModelFile(target); err != nil {
		return fmt.Errorf("%s is the file that was asked for, but no model: %w", target, err)
	}
	_, err = fmt.Fprintln(w.stdout, target)
	return err
}

// target is the path that the file is to have.
func (c *modelPullCmd) target() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("the address must begin with http:// or https://")
	}
	name := c.Name
	if name == "" {
		name = path.Base(u.Path)
	}
	if !strings.HasSuffix(name, ".gguf") || name == ".gguf" || strings.ContainsAny(name, "/\\") {
		return "", fmt.Errorf("--name=%q: the file's name must end with .gguf and have no folder in it", name)
	}
	return filepath.Abs(filepath.Join(c.Folders.DataDir, "models", name))
}
