// Command engine measures the forward pass against llama.cpp's on the same files, with the same
// number of threads, by turns: a prompt of 512 tokens, and the next token of 1, 8 and 32 sequences.
// Then what only a whole engine has: an agent's return, a cold start, both cores taken by others.
// It judges nothing; the figures go to a file, from which plot.py draws.
//
// Read: main, forward (ours), peer (theirs), rounds (by turns), busy (others on the cores), agent,
// coldstart, machine.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

// results is the file that is written.
type results struct {
	Machine   machine    `json:"machine"`
	Peer      string     `json:"peer"`
	Kernels   string     `json:"kernels"`
	Threads   int        `json:"threads"`
	Rounds    int        `json:"rounds"`
	Models    []compared `json:"models"`
	Agent     *agent     `json:"agent_of_2000_tokens,omitempty"`
	ColdStart *coldStart `json:"cold_start,omitempty"`
}

// plan is what to measure, and how often.
type plan struct {
	binary, libs, python, script string
	threads, rounds, starts      int
	busy, whole                  bool
}

func main() {
	p := plan{script: "bench/engine/peer.py"}
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary whose cold start to measure")
	flag.StringVar(&p.libs, "libs", "", "folder of llama.cpp's libraries: bins/linux-x64 of npm's @node-llama-cpp/linux-x64")
	flag.StringVar(&p.python, "python", "python3", "Python with numpy")
	flag.IntVar(&p.threads, "threads", 2, "threads of each")
	flag.IntVar(&p.rounds, "rounds", 7, "rounds; each case is measured once in each by both, with busy loops after the same without")
	flag.IntVar(&p.starts, "starts", 11, "cold starts to measure")
	flag.BoolVar(&p.busy, "busy", true, "measure with a busy loop on every core, too")
	flag.BoolVar(&p.whole, "whole", true, "measure the whole engine, too: agent and cold start")
	out := flag.String("out", "bench/engine.json", "file to write; figures of other models in it stay")
	flag.Parse()
	if err := run(p, flag.Args(), *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/engine:", err)
		os.Exit(1)
	}
}

// run measures the models, each given as NAME=FILE.
func run(p plan, models []string, out string) error {
	r := &results{}
	if old, err := os.ReadFile(out); err == nil {
		if err := json.Unmarshal(old, r); err != nil {
			return fmt.Errorf("-out=%s is not of this program: %w", out, err)
		}
	}
	var err error
	if r.Machine, err = thisMachine(); err != nil {
		return err
	}
	r.Threads, r.Rounds = p.threads, p.rounds
	for _, m := range models {
		name, path, ok := strings.Cut(m, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form NAME=FILE", m)
		}
		if err := r.compare(p, name, path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := r.write(out); err != nil { // what is measured is not lost when something else fails
			return err
		}
	}
	if p.whole {
		if r.Agent, err = measureAgent(); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		if r.ColdStart, err = measureColdStart(p); err != nil {
			return fmt.Errorf("cold start: %w", err)
		}
	}
	r.print(os.Stdout)
	return r.write(out)
}

func (r *results) write(out string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write -out: %w", err)
	}
	return nil
}
