// Command first measures what a first look at a pod asks: how soon it is ready, how
// soon the first token comes and how fast the others, what the proxy adds, and how
// much memory each process takes. It judges nothing; the figures go to a file.
//
// Read: main, pod (a pod to measure), coldstart, chat, added (by the proxy), memory.
// Beside it: measure (machine, spread of samples).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is the file that is written.
type results struct {
	Machine   measure.Machine `json:"machine"`
	ColdStart coldStart       `json:"cold_start"`
	Chat      chat            `json:"chat"`
	Added     []added         `json:"added_by_proxy"`
	Memory    []memory        `json:"memory"`
}

// plan is what to measure, and how often.
type plan struct {
	binary, model            string
	starts, chats            int
	modelCalls, completions  int
	loadClients, loadAnswers int
}

func main() {
	p := plan{modelCalls: 4000, completions: 300, loadClients: 32, loadAnswers: 2}
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary to measure")
	flag.StringVar(&p.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model to serve")
	flag.IntVar(&p.starts, "starts", 11, "cold starts to measure")
	flag.IntVar(&p.chats, "chats", 9, "chats to measure")
	out := flag.String("out", "bench/first.json", "file to write")
	flag.Parse()
	if err := run(p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/first:", err)
		os.Exit(1)
	}
}

func run(p plan, out string) error {
	for _, path := range []*string{&p.binary, &p.model} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	r, err := measureAll(p)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write -out: %w", err)
	}
	r.print(os.Stdout)
	return nil
}

func measureAll(p plan) (*results, error) {
	r := &results{}
	var err error
	if r.Machine, err = measure.ThisMachine(p.binary); err != nil {
		return nil, err
	}
	if err := warm(p.model, p.binary); err != nil {
		return nil, err
	}
	if r.ColdStart, err = measureColdStart(p); err != nil {
		return nil, fmt.Errorf("cold start: %w", err)
	}
	pod, err := startPod(p)
	if err != nil {
		return nil, err
	}
	defer pod.Kill()
	idle, err := pod.memory()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	if r.Chat, err = measureChat(p, pod); err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	if r.Added, err = measureAdded(p, pod); err != nil {
		return nil, fmt.Errorf("added time: %w", err)
	}
	if err := load(p, pod); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	loaded, err := pod.memory()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	r.Memory = sideBySide(idle, loaded)
	return r, pod.stop()
}

// print writes the figures as a table.
func (r *results) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "\n%s, %d cores, %s, %s, %s, load %s (nice %d), commit %s\n\n",
		m.CPU, m.Cores, m.Kernel, m.Go, m.Date, m.LoadAverage, m.Nice, m.Commit)
	fmt.Fprintf(w, "cold start to ready         %8.0f ms   (%d runs, %.0f to %.0f; predecessor %.0f, goal < %.0f)\n",
		r.ColdStart.Median, len(r.ColdStart.RunsMS), r.ColdStart.Min, r.ColdStart.Max, predecessorMS, goalMS)
	fmt.Fprintf(w, "first token of a chat       %8.1f ms   (%d prompt tokens; %.1f to %.1f)\n",
		r.Chat.FirstTokenMS.Median, r.Chat.PromptTokens, r.Chat.FirstTokenMS.Min, r.Chat.FirstTokenMS.Max)
	fmt.Fprintf(w, "tokens a second             %8.1f      (%d tokens; %.1f to %.1f)\n\n",
		r.Chat.TokensPerSecond.Median, r.Chat.AnswerTokens, r.Chat.TokensPerSecond.Min, r.Chat.TokensPerSecond.Max)
	fmt.Fprintf(w, "%-28s%14s%14s%14s\n", "", "engine alone", "through proxy", "added")
	for _, a := range r.Added {
		fmt.Fprintf(w, "%-24s p50%11.0f µs%11.0f µs%11.0f µs\n", a.What, a.Engine.P50, a.Proxy.P50, a.P50)
		fmt.Fprintf(w, "%-24s p99%11.0f µs%11.0f µs%11.0f µs\n", "", a.Engine.P99, a.Proxy.P99, a.P99)
	}
	fmt.Fprintf(w, "\n%-28s%14s%14s%14s%14s\n", "memory (MiB)", "PSS idle", "RSS idle", "PSS loaded", "RSS loaded")
	for _, x := range r.Memory {
		fmt.Fprintf(w, "%-28s%14.1f%14.1f%14.1f%14.1f\n", x.Process, x.Idle.PSS, x.Idle.RSS, x.Loaded.PSS, x.Loaded.RSS)
	}
}
