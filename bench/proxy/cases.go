package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// Names of the cases, as -cases takes them.
const (
	caseSaturated = "saturated"
	caseFloor     = "floor"
	casePaced     = "paced"
	caseStreams   = "streams"
	caseProbes    = "probes"
)

// direct is what is measured without a proxy, on the backend's socket.
const direct = "direct"

// load is one shape of requests.
type load struct {
	name, path, body string
	connections      int
}

var (
	small64  = load{"small-64", pathSmall, smallBody, 64}
	large32  = load{"1k-10k-32", pathLarge, largeBody, 32}
	large256 = load{"1k-10k-256", pathLarge, largeBody, 256}
)

// saturated asks each peer for all that it can, and reads what a request costs it.
func (b *bench) saturated(round int) error {
	for _, l := range []load{small64, large32, large256} {
		peers := b.turn(round)
		if l != small64 {
			peers = b.pick(round, "semantic", "nginx", "haproxy")
		}
		peers = slices.DeleteFunc(peers, func(p *peer) bool { return p.name == epollAlone })
		if err := b.saturate(l, peers); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) saturate(l load, peers []*peer) error {
	for _, p := range peers {
		before, err := p.process.cpu()
		if err != nil {
			return err
		}
		r, err := wrk{url: p.url(l.path), key: b.key, body: l.body, connections: l.connections, duration: b.duration}.run(b.dir)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", l.name, p.label(), err)
		}
		after, err := p.process.cpu()
		if err != nil {
			return err
		}
		b.add(l.name, p.label(), "cpu_us", float64((after-before).Microseconds())/float64(r.Requests))
		b.add(l.name, p.label(), "requests_per_second", float64(r.Requests)/r.Seconds)
		b.add(l.name, p.label(), "p50_us", r.P50)
		b.add(l.name, p.label(), "p99_us", r.P99)
	}
	return nil
}

// floor compares what forwards without features with a loop that does nothing else.
func (b *bench) floor(round int) error {
	return b.saturate(load{"floor-64", pathSmall, smallBody, 64}, slices.DeleteFunc(b.turn(round), func(p *peer) bool { return p.on }))
}

// paced asks all at one pace, half of what the slowest of the three could do, and
// compares with asking the backend's socket.
func (b *bench) paced(round int) error {
	for _, l := range []load{large32, large256} {
		rate := b.halfLoad(l)
		peers := append([]*peer{nil}, b.pick(round, "semantic", "nginx", "haproxy")...)
		for i := range peers {
			p := peers[(i+round)%len(peers)]
			name, run := direct, paced{network: "unix", address: b.engine, path: l.path, key: b.key, body: l.body,
				connections: l.connections, rate: rate, duration: b.duration}
			if p != nil {
				name, run.network, run.address = p.label(), "tcp", fmt.Sprintf("127.0.0.1:%d", p.Port)
			}
			samples, err := run.run()
			if err != nil {
				return fmt.Errorf("%s at half load, %s: %w", l.name, name, err)
			}
			b.add(l.name+"-half", name, "p50_us", measure.Percentile(samples, 50))
			b.add(l.name+"-half", name, "p99_us", measure.Percentile(samples, 99))
			b.add(l.name+"-half", name, "requests_per_second", rate)
		}
	}
	return nil
}

// halfLoad is half of the saturating load of the slowest, as measured here before.
func (b *bench) halfLoad(l load) float64 {
	least := 0.0
	for _, name := range []string{"semantic", "nginx", "haproxy"} {
		if runs := b.results.Cases[l.name][name]["requests_per_second"]; len(runs) > 0 {
			if m := measure.SpreadOf(runs).Median; least == 0 || m < least {
				least = m
			}
		}
	}
	if least == 0 {
		return 4000 // nothing was measured before
	}
	return least / 2
}

// streamed reads many streams at once.
func (b *bench) streamed(round int) error {
	for _, n := range b.streams {
		interval := time.Duration(n) * 100 * time.Microsecond // 10,000 chunks a second in all
		peers := append([]*peer{nil}, b.pick(round, "semantic", "nginx", "haproxy")...)
		for i := range peers {
			p := peers[(i+round)%len(peers)]
			if err := b.streamedBy(p, n, interval); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) streamedBy(p *peer, n int, interval time.Duration) error {
	name, w := direct, watched{network: "unix", address: b.engine, key: b.key, streams: n, interval: interval,
		warm: interval, duration: max(b.duration, 2*interval)}
	if p != nil {
		name, w.network, w.address = p.label(), "tcp", fmt.Sprintf("127.0.0.1:%d", p.Port)
	}
	label := fmt.Sprintf("streams-%d", n)
	var cpu []time.Duration
	w.during = func() {
		if p != nil {
			t, _ := p.process.cpu()
			cpu = append(cpu, t)
			if len(cpu) == 2 {
				b.add(label, name, "rss_mib", p.process.rss())
			}
		}
	}
	samples, err := w.run()
	if err != nil {
		return fmt.Errorf("%s, %s: %w", label, name, err)
	}
	if len(samples) == 0 {
		return fmt.Errorf("%s, %s: no chunk came", label, name)
	}
	b.add(label, name, "p50_us", measure.Percentile(samples, 50))
	b.add(label, name, "p99_us", measure.Percentile(samples, 99))
	b.add(label, name, "chunks_per_second", float64(len(samples))/w.duration.Seconds())
	if p != nil {
		b.add(label, name, "cpu_us", float64((cpu[1]-cpu[0]).Microseconds())/float64(len(samples)))
	}
	return nil
}

// probed asks for readiness, 100 at once, ten times a second, as those who watch many pods
// do, while an engine is saturated with chats; and while requests saturate the peer itself,
// like that and 100 at a time without a pause.
func (b *bench) probed(round int) error {
	peers := b.pick(round, "semantic", "nginx")
	if err := b.besideEngine(round, peers); err != nil {
		return fmt.Errorf("probes beside an engine: %w", err)
	}
	for _, p := range peers {
		at := load{path: pathSmall, body: smallBody, connections: 64}
		err := errors.Join(
			b.beside(p.url(at.path), at, func() error { return b.volley("probes-at-once", p.label(), p.Port) }),
			b.beside(p.url(at.path), at, func() error {
				r, err := wrk{url: p.url("/health/ready"), connections: 100, duration: b.duration}.run(b.dir)
				if err == nil {
					b.add("probes-100", p.label(), "p50_us", r.P50)
					b.add("probes-100", p.label(), "p95_us", r.P95)
					b.add("probes-100", p.label(), "requests_per_second", float64(r.Requests)/r.Seconds)
				}
				return err
			}))
		if err != nil {
			return fmt.Errorf("probes, %s: %w", p.label(), err)
		}
	}
	return nil
}

// besideEngine probes a whole pod whose engine has more chats than it decodes at once, and
// the other peers while that goes on.
func (b *bench) besideEngine(round int, peers []*peer) error {
	ports, err := measure.FreePorts(2)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, fmt.Sprintf("pod-%d", round))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	pod, err := start(dir, b.binaries.semantic, "serve", "--data-dir", dir, "--model", b.model, "--port", strconv.Itoa(ports[0]),
		"--sidecar-listen", fmt.Sprintf("127.0.0.1:%d", ports[1]), "--drain-delay", "0s", "--drain-timeout", "1s")
	if err != nil {
		return err
	}
	defer pod.stop()
	p := &peer{name: "semantic", on: true, process: pod, place: place{Port: ports[0]}}
	if err := p.await(func() error { _, err := probes(p); return err }); err != nil {
		return err
	}
	chat := load{path: "/v1/chat/completions", connections: 64,
		body: `{"model":"default","max_tokens":8,"temperature":0,"messages":[{"role":"user","content":"Write a long story about the sea."}]}`}
	for _, q := range peers {
		port := q.Port
		if q.name == p.name {
			port = p.Port
		}
		err := b.beside(p.url(chat.path), chat, func() error { return b.volley("probes-engine", q.label(), port) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) volley(name, label string, port int) error {
	samples, err := volley{address: fmt.Sprintf("127.0.0.1:%d", port), connections: 100, every: 100 * time.Millisecond, duration: b.duration}.run()
	if err == nil {
		b.add(name, label, "p50_us", measure.Percentile(samples, 50))
		b.add(name, label, "p95_us", measure.Percentile(samples, 95))
	}
	return err
}

// beside calls f while a load is on.
func (b *bench) beside(url string, l load, f func() error) error {
	var background sync.WaitGroup
	var failed error
	background.Go(func() {
		dir := filepath.Join(b.dir, "background")
		_, failed = wrk{url: url, key: b.key, body: l.body, connections: l.connections, duration: b.duration + time.Second}.run(dir)
	})
	time.Sleep(500 * time.Millisecond)
	err := f()
	background.Wait()
	return errors.Join(err, failed)
}
