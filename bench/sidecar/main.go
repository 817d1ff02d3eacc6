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
	only := flag.Bool("consoles", false, "measure the consoles alone, and keep what else the results hold")
	flag.Parse()
	measured := run
	if *only {
		measured = runConsoles
	}
	if err := measured(p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/sidecar:", err)
		os.Exit(1)
	}
}

func run(p plan, out string) (err error) {
	var r results
	if r.Machine, err = measure.ThisMachine(p.binary); err != nil {
		return err
	}
	if r.Idle, err = measureIdle(p); err != nil {
		return err
	}
	fmt.Printf("idle: %+v\n", r.Idle)
	if r.Flow, err = measureFlow(p); err != nil {
		return err
	}
	fmt.Printf("flow: %+v\n", r.Flow)
	if r.Path, err = measurePath(p); err != nil {
		return err
	}
	fmt.Printf("request path: %+v\n", r.Path)
	if r.Pages, err = measureConsoles(p); err != nil {
		return err
	}
	fmt.Printf("consoles: %+v\n", r.Pages)
	return write(r, out)
}

// runConsoles measures the consoles anew.
func runConsoles(p plan, out string) error {
	var r results
	text, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if r.Pages, err = measureConsoles(p); err != nil {
		return err
	}
	fmt.Printf("consoles: %+v\n", r.Pages)
	return write(r, out)
}

func write(r results, out string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}
