// Command crowd measures what many chats at once get of one engine, over its socket: what a long prompt
// does to those who are being answered, and whether many chats in little memory are all served. It
// judges nothing; the figures go to a file.
//
// Read: main, engine (one to measure), stream (a chat), longprompt, full (many chats at once).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is the file that is written.
type results struct {
	Machine    measure.Machine `json:"machine"`
	LongPrompt *longPrompt     `json:"long_prompt,omitempty"`
	Full       *full           `json:"many_chats,omitempty"`
}

// plan is what to measure, and how often.
type plan struct {
	binary, model, only string
	rounds              int
	cgroup              string
}

func main() {
	var p plan
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary to measure")
	flag.StringVar(&p.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model to serve")
	flag.StringVar(&p.only, "only", "", "measure this alone: long-prompt or many-chats; the other's figures stay")
	flag.IntVar(&p.rounds, "rounds", 7, "long prompts to measure")
	flag.StringVar(&p.cgroup, "cgroup", "", "folder of a control group that bounds the engine's memory while many chats run")
	out := flag.String("out", "bench/crowd.json", "file to write")
	flag.Parse()
	if err := run(p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench/crowd:", err)
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
	r := &results{}
	if old, err := os.ReadFile(out); err == nil {
		if err := json.Unmarshal(old, r); err != nil {
			return fmt.Errorf("-out=%s is not of this program: %w", out, err)
		}
	}
	machine, err := measure.ThisMachine(p.binary)
	if err != nil {
		return err
	}
	r.Machine = machine
	if p.only != "many-chats" {
		if r.LongPrompt, err = measureLongPrompt(p); err != nil {
			return fmt.Errorf("long prompt: %w", err)
		}
	}
	if p.only != "long-prompt" {
		if r.Full, err = measureFull(p); err != nil {
			return fmt.Errorf("many chats: %w", err)
		}
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

// print writes the figures for a reader.
func (r *results) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "\n%s, %d cores, %s, %s, load %s, commit %s\n\n", m.CPU, m.Cores, m.Go, m.Date, m.LoadAverage, m.Commit)
	if l := r.LongPrompt; l != nil {
		fmt.Fprintf(w, "%d chats stream; between two of their tokens, median of %d rounds (p99):\n", l.Chats, len(l.Rounds))
		fmt.Fprintf(w, "  without a long prompt %7.1f ms (%.1f)\n", l.WithoutMS.Median, l.WithoutP99MS.Median)
		fmt.Fprintf(w, "  with one of %d tokens %7.1f ms (%.1f): %.2f× (%.2f× of the p99), %.2f to %.2f\n", l.PromptTokens, l.WithMS.Median, l.WithP99MS.Median,
			l.Ratio.Median, l.P99Ratio.Median, l.Ratio.Min, l.Ratio.Max)
		fmt.Fprintf(w, "  the long prompt's first token after %.1f s; alone %.1f s\n\n", l.FirstTokenS.Median, l.AloneS)
	}
	if f := r.Full; f != nil {
		fmt.Fprintf(w, "%d chats of %d tokens at once with %s\n", f.Chats, f.AnswerTokens, strings.Join(f.Flags, " "))
		fmt.Fprintf(w, "  served whole %d in %.0f s, %.0f tokens/s together; a chat took %.0f to %.0f s, %d were preempted\n", f.Served, f.Seconds, f.TokensPerSecond, f.ChatS.Min, f.ChatS.Max, f.Preemptions)
		fmt.Fprintf(w, "  first token after %.1f s (%.1f to %.1f); longest silence within a chat %.1f s (median of chats %.1f)\n", f.FirstTokenS.Median, f.FirstTokenS.Min, f.FirstTokenS.Max, f.LongestSilenceS.Max, f.LongestSilenceS.Median)
		fmt.Fprintf(w, "  resident at most %.0f MiB (anonymous %.0f, files %.0f); weights %.0f + keys and values %.0f: %.3f×\n", f.Resident.RSS, f.Resident.Anonymous, f.Resident.RSS-f.Resident.Anonymous, f.WeightMiB, f.KVMiB, f.ResidentRatio)
	}
}
