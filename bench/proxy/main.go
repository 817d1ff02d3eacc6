// Command proxy measures what Semantic's proxy costs, beside nginx, HAProxy, Caddy
// and net/http's ReverseProxy, each with the same work: key check, rate limit of the
// key, request id, JSON access log to a file, kept-alive connections to a backend's
// Unix socket. Load, backend and proxy share the machine, so the measure is the
// processor time of a request as /proc has it. Peers take turns in each round.
//
// Read: main, peers, process, cases, wrk, paced, watch, epoll; crowd, refusal, leaving; backend, emit, floor; report, page.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// binaries are what was built to be measured.
type binaries struct{ semantic, caddy, reverseProxy string }

// bench is one run.
type bench struct {
	binaries binaries
	cases    []string
	rounds   int
	duration time.Duration // of a single measurement
	streams  []int
	only     []string // peers; all if empty

	dir, engine, key string
	model            string
	at               place
	peers            []*peer
	results          results
	measured         map[string]bool // cases of this run
}

func main() {
	b := &bench{streams: []int{1000, 5000}}
	backendSocket := flag.String("backend", "", "serve as the backend on this Unix socket, and do nothing else")
	flag.StringVar(&b.binaries.semantic, "semantic", "bin/semantic", "binary to measure")
	flag.StringVar(&b.binaries.caddy, "caddy", ".tools/bench/caddy", "Caddy, as peers/caddy builds it")
	flag.StringVar(&b.binaries.reverseProxy, "reverseproxy", ".tools/bench/reverseproxy", "ReverseProxy, as peers/reverseproxy builds it")
	flag.StringVar(&b.model, "model", "models/smollm2-135m-instruct-q4_1.gguf", "model of the engine that is saturated beside probes")
	floorAddress := flag.String("floor", "", "forward from this TCP address to -backend, with an epoll alone, and do nothing else")
	cases := flag.String("cases", strings.Join([]string{caseSaturated, caseFloor, casePaced, caseStreams, caseProbes, caseCrowds, caseRefusals, caseLeaving}, ","), "cases to measure")
	only := flag.String("peers", "", "peers to measure, with commas between; all by default")
	flag.IntVar(&b.rounds, "rounds", 7, "rounds")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "of one measurement")
	out := flag.String("out", "bench/proxy.json", "results; cases that are not measured stay as they are in it")
	smoke := flag.Bool("smoke", false, "one short round that writes nothing: shows that the benchmark works")
	flag.Parse()
	if *floorAddress != "" {
		fatal(runFloor(*floorAddress, *backendSocket))
	}
	if *backendSocket != "" {
		fatal(runBackend(*backendSocket))
	}
	b.cases = strings.Split(*cases, ",")
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	if *smoke {
		b.rounds, b.duration, b.streams, *out = 1, time.Second, []int{100}, ""
	}
	fatal(b.run(*out))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/proxy:", err)
		os.Exit(1)
	}
}

func (b *bench) run(out string) error {
	machine, err := measure.ThisMachine(b.binaries.semantic)
	if err != nil {
		return err
	}
	if b.results, err = readResults(out); err != nil {
		return err
	}
	b.results.Machine = machine
	stop, err := b.start()
	defer stop()
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(round int) error
	}{{caseSaturated, b.saturated}, {caseFloor, b.floor}, {casePaced, b.paced}, {caseStreams, b.streamed}, {caseProbes, b.probed}, {caseCrowds, b.crowded}, {caseRefusals, b.refused}, {caseLeaving, b.leaving}}
	for _, step := range steps {
		if !slices.Contains(b.cases, step.name) {
			continue
		}
		b.measured = map[string]bool{}
		for round := range b.rounds {
			if err := step.run(round); err != nil {
				return err
			}
		}
	}
	b.results.print(os.Stdout)
	if out == "" {
		return nil
	}
	return b.results.write(out)
}

// start starts the backend and the peers; the function that it returns stops them.
func (b *bench) start() (stop func(), err error) {
	var running []*process
	stop = func() {
		for _, p := range slices.Backward(running) {
			p.stop()
		}
		_ = os.RemoveAll(b.dir)
	}
	if b.dir, err = os.MkdirTemp("", "bench-proxy"); err != nil {
		return stop, err
	}
	for _, sub := range []string{"backend", "background"} {
		if err := os.Mkdir(filepath.Join(b.dir, sub), 0o700); err != nil {
			return stop, err
		}
	}
	b.engine = filepath.Join(b.dir, "engine.sock")
	self, err := os.Executable()
	if err != nil {
		return stop, err
	}
	engine, err := start(filepath.Join(b.dir, "backend"), self, "-backend", b.engine)
	if err != nil {
		return stop, err
	}
	running = append(running, engine)
	at := place{Engine: b.engine, KeyFile: filepath.Join(b.dir, "keys.yaml"), Threads: b.results.Machine.Cores}
	if at.User, at.Group, err = whoami(); err != nil {
		return stop, err
	}
	if at.Key, err = newKey(b.binaries.semantic, at.KeyFile); err != nil {
		return stop, err
	}
	b.key, b.at = at.Key, at
	for _, p := range allPeers(b.binaries) {
		if len(b.only) > 0 && !slices.Contains(b.only, p.name) {
			continue
		}
		err := p.begin(b.dir, at)
		if p.process != nil {
			running = append(running, p.process)
		}
		if err != nil {
			return stop, err
		}
		b.peers = append(b.peers, p)
		if b.results.Peers[p.name], err = p.tells(); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// whoami is the user and group that the benchmark runs as.
func whoami() (name, group string, err error) {
	u, err := user.Current()
	if err != nil {
		return "", "", err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", "", err
	}
	return u.Username, g.Name, nil
}

// turn returns the peers in the order of the round: each begins one in turn.
func (b *bench) turn(round int) []*peer {
	n := round % len(b.peers)
	return append(slices.Clone(b.peers[n:]), b.peers[:n]...)
}

// pick returns the peers of these names with all features, in the order of the round.
func (b *bench) pick(round int, names ...string) []*peer {
	return slices.DeleteFunc(b.turn(round), func(p *peer) bool { return !p.on || !slices.Contains(names, p.name) })
}

// add keeps one measured figure. The first one of a run replaces what an older run
// left.
func (b *bench) add(name, peer, metric string, v float64) {
	c := b.results.Cases
	if !b.measured[name] {
		b.measured[name] = true
		c[name] = map[string]map[string][]float64{}
	}
	if c[name][peer] == nil {
		c[name][peer] = map[string][]float64{}
	}
	c[name][peer][metric] = append(c[name][peer][metric], measure.Round(v))
}
