// Command observability measures what it costs that the pod tells about itself: the
// proxy's processor time of a request with metrics, log and spans, against the same
// proxy that tells nothing; the engine's tokens a second; and a scrape. All variants
// run at once and are measured by turns.
//
// Read: main, variants (what is told), proxycost (the proxy's processor time), stand
// (in for the engine and the collector), enginecost, scrape, clock.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/semantic-pod/semantic/bench/measure"
)

// results is the file that is written.
type results struct {
	Machine measure.Machine  `json:"machine"`
	Proxy   map[string]proxy `json:"proxy"`  // by variant
	Engine  *engineCost      `json:"engine"` // null where it was not measured
	Scrape  *scrapes         `json:"scrape"`
}

// plan is what to measure, and how often.
type plan struct {
	binary, model    string
	rounds, requests int
	connections      int
	engineRounds     int
	only             string
	child, dir       string
}

func main() {
	p := plan{connections: 16}
	flag.StringVar(&p.binary, "bin", "bin/semantic", "binary to measure")
	flag.StringVar(&p.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model to serve")
	flag.IntVar(&p.rounds, "rounds", 61, "rounds of the proxy's variants")
	flag.IntVar(&p.requests, "requests", 2_000, "requests of a variant in a round")
	flag.IntVar(&p.engineRounds, "engine-rounds", 301, "rounds of the engine's variants")
	flag.StringVar(&p.only, "only", "", "measure proxy, engine or scrape alone, and keep what the file has of the others")
	flag.StringVar(&p.child, "as-proxy", "", "be the proxy of a variant (the program starts itself so)")
	flag.StringVar(&p.dir, "dir", "", "the variant's folder")
	out := flag.String("out", "bench/observability.json", "file to write")
	flag.Parse()
	var err error
	if p.child != "" {
		err = runChild(p)
	} else {
		err = run(p, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/observability:", err)
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
	var r results
	if before, err := os.ReadFile(out); err == nil && p.only != "" {
		if err := json.Unmarshal(before, &r); err != nil {
			return fmt.Errorf("-out=%s is not of this program: %w", out, err)
		}
	}
	var err error
	if r.Machine, err = measure.ThisMachine(p.binary); err != nil {
		return err
	}
	if p.only == "" || p.only == "proxy" {
		if r.Proxy, err = measureProxy(p); err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
	}
	if p.only == "" || p.only == "engine" {
		if r.Engine, err = measureEngine(p); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	if p.only == "" || p.only == "scrape" {
		if r.Scrape, err = measureScrape(p); err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	r.print()
	return os.WriteFile(out, append(b, '\n'), 0o644)
}

func (r *results) print() {
	for _, v := range variants {
		if c, ok := r.Proxy[v.name]; ok {
			fmt.Printf("proxy, %-28s %6.2f µs CPU a request (%.2f to %.2f); added %6.2f (%.2f to %.2f)\n",
				v.name, c.CPU.Median, c.CPU.Min, c.CPU.Max, c.Added.Median, c.Added.Min, c.Added.Max)
		}
	}
	if e := r.Engine; e != nil {
		fmt.Printf("engine, tokens a second: silent %.1f, all on %.1f: %.2f %% fewer (%.2f to %.2f); its counters and histograms %.1f ns a token, %.4f %% of its time\n",
			e.Off.Median, e.On.Median, e.LessPercent.Median, e.LessPercent.Min, e.LessPercent.Max, e.UpdatesNS, e.UpdatesPercent)
	}
	if s := r.Scrape; s != nil {
		fmt.Printf("scrape of proxy and engine: %.2f ms p50, %.2f ms p99 idle; %.2f, %.2f under load; %d bytes\n", s.Idle.P50, s.Idle.P99, s.Loaded.P50, s.Loaded.P99, s.Bytes)
	}
}
