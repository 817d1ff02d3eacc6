// Command sidecar measures what the sidecar costs: idle, while logs flow at 200,000
// lines a second, what its compression does to the request path, and what twenty open
// consoles do to its memory and the request path.
//
// Read: main, process (the kernel's figures), flow, path, consoles.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is what is committed.
type results struct {
	Machine measure.Machine `json:"machine"`
	Idle    idle            `json:"idle"`
	Flow    flow            `json:"flow"`
	Path    path            `json:"request_path"`
	Pages   consoles        `json:"consoles"`
}

// plan is how long each part takes.
type plan struct {
	binary, model, dir string
	idle, flow         time.Duration
	rounds             int           // of each kind, by turns
	round              time.Duration // of one
}

func main() {
	p := plan{}
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary to measure")
	flag.StringVar(&p.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model of the pod whose request path is measured")
	flag.StringVar(&p.dir, "dir", os.TempDir(), "folder in which the logs lie")
	flag.DurationVar(&p.idle, "idle", 60*time.Second, "time to be idle")
	flag.DurationVar(&p.flow, "flow", 20*time.Second, "time that logs flow")
	flag.IntVar(&p.rounds, "rounds", 6, "rounds with compression, and as many without")
	flag.DurationVar(&p.round, "round", 8*time.Second, "time of a round")
	out := flag.String("out", "bench/sidecar.json", "file for the results")
	only := flag.String("only", "", "measure one part, idle, flow, path or consoles, and keep what else the results hold")
	flag.Parse()
	if err := run(p, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/sidecar:", err)
		os.Exit(1)
	}
}

// run measures all parts, or the one that is named, into the file out.
func run(p plan, only, out string) (err error) {
	var r results
	parts := []struct {
		name    string
		measure func() (any, error)
	}{
		{"idle", func() (any, error) { r.Idle, err = measureIdle(p); return r.Idle, err }},
		{"flow", func() (any, error) { r.Flow, err = measureFlow(p); return r.Flow, err }},
		{"path", func() (any, error) { r.Path, err = measurePath(p); return r.Path, err }},
		{"consoles", func() (any, error) { r.Pages, err = measureConsoles(p); return r.Pages, err }},
	}
	if only != "" {
		text, err := os.ReadFile(out)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return err
		}
	}
	if only == "" {
		if r.Machine, err = measure.ThisMachine(p.binary); err != nil {
			return err
		}
	}
	measured := false
	for _, part := range parts {
		if only != "" && only != part.name {
			continue
		}
		got, err := part.measure()
		if err != nil {
			return err
		}
		fmt.Printf("%s: %+v\n", part.name, got)
		measured = true
	}
	if !measured {
		return fmt.Errorf("-only %s is none of idle, flow, path and consoles", only)
	}
	return write(r, out)
}

func write(r results, out string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}
