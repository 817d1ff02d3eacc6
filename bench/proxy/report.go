package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is the file that is written: every single figure, so that anyone can see
// how they lie.
type results struct {
	Machine measure.Machine                            `json:"machine"`
	Peers   map[string]string                          `json:"peers"` // what each says of its version
	Cases   map[string]map[string]map[string][]float64 `json:"cases"` // case, peer, metric: a figure a round
}

func readResults(path string) (results, error) {
	r := results{Peers: map[string]string{}, Cases: map[string]map[string]map[string][]float64{}}
	if path == "" {
		return r, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

func (r *results) write(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// print writes medians with their spread, and what was aimed at.
func (r *results) print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(r.Cases)) {
		fmt.Fprintf(w, "\n%s\n", name)
		for _, peer := range slices.Sorted(maps.Keys(r.Cases[name])) {
			fmt.Fprintf(w, "  %-16s", peer)
			metrics := r.Cases[name][peer]
			for _, metric := range slices.Sorted(maps.Keys(metrics)) {
				s := measure.SpreadOf(metrics[metric])
				fmt.Fprintf(w, "  %s %.5g (%.4g–%.4g)", metric, s.Median, s.Min, s.Max)
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintln(w)
	for _, g := range goals {
		if v, ok := r.judge(g); ok {
			fmt.Fprintf(w, "%-56s %9.4g (%.4g–%.4g)  %s ≤ %g\n", v.what, v.Median, v.Min, v.Max, v.verdict, g.most)
		}
	}
}

// goal is what was aimed at: a figure of ours over, or minus, that of another,
// round by round.
type goal struct {
	name, metric string
	of, over     string
	minus        bool // the difference counts, not the ratio
	most         float64
}

var goals = []goal{
	{"small-64", "cpu_us", "semantic", "nginx", false, 0.85},
	{"small-64", "cpu_us", "semantic", "haproxy", false, 0.85},
	{"small-64", "cpu_us", "semantic", "caddy", false, 0.2},
	{"small-64", "cpu_us", "semantic", "reverseproxy", false, 0.25},
	{"small-64", "cpu_us", "semantic", "semantic bare", false, 1.2},
	{"1k-10k-32-half", "p50_us", "semantic", direct, true, 150},
	{"1k-10k-32-half", "p99_us", "semantic", direct, true, 600},
	{"1k-10k-32-half", "p99_us", "semantic", "nginx", false, 1},
	{"1k-10k-256-half", "p50_us", "semantic", direct, true, 150},
	{"1k-10k-256-half", "p99_us", "semantic", direct, true, 600},
	{"1k-10k-256-half", "p99_us", "semantic", "nginx", false, 1},
	{"streams-1000", "p50_us", "semantic", direct, true, 50},
	{"streams-1000", "cpu_us", "semantic", "nginx", false, 1},
	{"streams-1000", "rss_mib", "semantic", "", false, 64},
	{"streams-5000", "cpu_us", "semantic", "nginx", false, 1},
	{"streams-5000", "rss_mib", "semantic", "", false, 160},
	{"crowd-slow-5000", "kib_a_stream", "semantic", "", false, 256},
	{"refusals-1000", "p99_us", "semantic", "", false, 2000},
	{"leaving", "most_us", "semantic", "", false, 100_000},
	{"probes-engine", "p50_us", "semantic", "", false, 1000},
	{"probes-engine", "p95_us", "semantic", "nginx", false, 1},
	{"probes-at-once", "p50_us", "semantic", "", false, 1000},
	{"probes-at-once", "p95_us", "semantic", "nginx", false, 1},
	{"probes-100", "p50_us", "semantic", "", false, 1000},
	{"probes-100", "p95_us", "semantic", "nginx", false, 1},
}

// judged is what the rounds say of a goal.
type judged struct {
	measure.Spread
	what, verdict string
}

// judge compares round by round. It says that a goal is reached, or missed, only
// where most rounds could not have said the other; else that it cannot be told.
func (r *results) judge(g goal) (judged, bool) {
	ours, theirs := r.Cases[g.name][g.of][g.metric], r.Cases[g.name][g.over][g.metric]
	if len(ours) == 0 || g.over != "" && len(theirs) != len(ours) {
		return judged{}, false
	}
	values := slices.Clone(ours)
	what := fmt.Sprintf("%s %s of %s", g.name, g.metric, g.of)
	for i := range values {
		switch {
		case g.over == "":
		case g.minus:
			values[i] -= theirs[i]
		default:
			values[i] /= theirs[i]
		}
	}
	if g.over != "" {
		what += map[bool]string{true: " minus ", false: " over "}[g.minus] + g.over
	}
	s := measure.SpreadOf(values)
	j := judged{s, what, "by the median misses"}
	switch {
	case s.Max <= g.most:
		j.verdict = "reaches"
	case s.Min > g.most:
		j.verdict = "misses"
	case s.Median <= g.most:
		j.verdict = "by the median reaches"
	}
	return j, true
}
