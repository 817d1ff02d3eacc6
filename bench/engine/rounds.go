package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// compared is one model, measured by turns.
type compared struct {
	Model string `json:"model"`
	Cases []pair `json:"cases"`
}

// pair is one case in tokens a second.
type pair struct {
	Case  string    `json:"case"`
	Busy  bool      `json:"busy_loop_on_every_core"`
	Ours  []float64 `json:"semantic"`
	Peers []float64 `json:"llama_cpp"`
	// Medians, and the median of the rounds' ratios.
	Our   float64 `json:"semantic_median"`
	Peer  float64 `json:"llama_cpp_median"`
	Ratio float64 `json:"ratio"`
	// With busy loops: which part of its speed without them each keeps, the median of the rounds.
	Kept     float64 `json:"semantic_keeps,omitempty"`
	PeerKept float64 `json:"llama_cpp_keeps,omitempty"`
}

var asks = []ask{
	{What: "prefill", Tokens: 512},
	{What: "decode", Batch: 1, Length: 128, Steps: 16},
	{What: "decode", Batch: 8, Length: 128, Steps: 8},
	{What: "decode", Batch: 32, Length: 128, Steps: 8},
}

// compare measures one model and puts it in the place of an older measurement of the same.
func (r *results) compare(p plan, name, path string) error {
	ours, err := openForward(path, p.threads)
	if err != nil {
		return err
	}
	defer ours.close()
	theirs, err := startPeer(p, path)
	if err != nil {
		return err
	}
	r.Peer = fmt.Sprintf("llama.cpp v%s, libggml-cpu-%s.so", theirs.Vendor, theirs.CPU)
	r.Kernels = ours.model.Kernels()
	c := compared{Model: name}
	for _, a := range asks {
		x, err := byTurns(ours, theirs, a, p.rounds)
		if err != nil {
			return fmt.Errorf("%v: %w", a, err)
		}
		c.Cases = append(c.Cases, x)
	}
	if p.busy {
		x, err := underBusyLoops(ours, theirs, asks[0], p.rounds)
		if err != nil {
			return fmt.Errorf("busy loops: %w", err)
		}
		c.Cases = append(c.Cases, x)
	}
	r.Models = slices.DeleteFunc(r.Models, func(old compared) bool { return old.Model == name })
	r.Models = append(r.Models, c)
	return theirs.close()
}

type side interface {
	seconds(a ask) (float64, error)
}

// byTurns measures a case in rounds, of which the first, that warms both up, does not count. Who
// begins changes from round to round.
func byTurns(ours, theirs side, a ask, rounds int) (pair, error) {
	p := pair{Case: a.String()}
	for round := range rounds + 1 {
		var speed [2]float64
		for turn := range speed {
			who := (turn + round) % 2
			seconds, err := []side{ours, theirs}[who].seconds(a)
			if err != nil {
				return p, err
			}
			speed[who] = float64(a.count()) / seconds
		}
		if round > 0 {
			p.Ours, p.Peers = append(p.Ours, round1(speed[0])), append(p.Peers, round1(speed[1]))
		}
	}
	p.compute()
	return p, nil
}

// compute fills in what follows from the rounds.
func (p *pair) compute() {
	p.Our, p.Peer = median(p.Ours), median(p.Peers)
	var ratios []float64
	for i := range p.Ours {
		ratios = append(ratios, p.Ours[i]/p.Peers[i])
	}
	p.Ratio = math.Round(100*median(ratios)) / 100
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func round1(v float64) float64 { return math.Round(10*v) / 10 }

// print writes the figures as a table.
func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d cores, load %s, nice %d; %d threads, kernels %s; %s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Load, r.Machine.Nice, r.Threads, r.Kernels, r.Peer)
	for _, m := range r.Models {
		for _, c := range m.Cases {
			busy := ""
			if c.Busy {
				busy = " (busy loops)"
			}
			if c.Kept > 0 { // which older files do not tell
				busy = fmt.Sprintf(" (busy loops: %.0f and %.0f %% kept)", 100*c.Kept, 100*c.PeerKept)
			}
			fmt.Fprintf(w, "%-6s %-50s %8.1f tokens/s, llama.cpp %8.1f: %5.2f×\n", m.Model, c.Case+busy, c.Our, c.Peer, c.Ratio)
		}
	}
	if a := r.Agent; a != nil {
		fmt.Fprintf(w, "agent of 2,000 tokens: first token after %.1f ms cold, %.1f ms hot (%.0f×), %.1f ms from disk (%.0f×)\n", a.Cold, a.Hot, a.Cold/a.Hot, a.Disk, a.Cold/a.Disk)
	}
	if s := r.ColdStart; s != nil {
		fmt.Fprintf(w, "cold start to ready: %.0f ms (%d starts)\n", s.Median, len(s.Runs))
	}
}
