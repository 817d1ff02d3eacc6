package main

import (
	"fmt"
	"strings"

	"github.com/semantic-pod/semantic/bench/measure"
)

// column is one column of a table of a page: a metric of a case.
type column struct {
	title, name, metric string
	decimals            int
}

// table is one table of a page, a line a peer.
type table struct {
	peers   []string
	columns []column
}

var (
	three  = []string{"semantic", "nginx", "haproxy"}
	all    = []string{"semantic", "nginx", "haproxy", "caddy", "reverseproxy", "semantic bare", "nginx bare", "haproxy bare"}
	tables = map[string]table{
		"small": {all, []column{
			{"CPU µs a request", "small-64", "cpu_us", 1}, {"requests a second", "small-64", "requests_per_second", 0}}},
		"large": {three, []column{
			{"32 connections", "1k-10k-32", "cpu_us", 1}, {"256 connections", "1k-10k-256", "cpu_us", 1}}},
		"half": {append([]string{direct}, three...), []column{
			{"p50, 32", "1k-10k-32-half", "p50_us", 0}, {"p99, 32", "1k-10k-32-half", "p99_us", 0},
			{"p50, 256", "1k-10k-256-half", "p50_us", 0}, {"p99, 256", "1k-10k-256-half", "p99_us", 0}}},
		"streams": {append([]string{direct}, three...), []column{
			{"1,000: p50 µs", "streams-1000", "p50_us", 0}, {"CPU µs an event", "streams-1000", "cpu_us", 1}, {"MiB", "streams-1000", "rss_mib", 0},
			{"5,000: p50 µs", "streams-5000", "p50_us", 0}, {"CPU µs an event", "streams-5000", "cpu_us", 1}, {"MiB", "streams-5000", "rss_mib", 0}}},
		"probes": {[]string{"semantic", "nginx"}, []column{
			{"engine saturated: p50 µs", "probes-engine", "p50_us", 0}, {"p95 µs", "probes-engine", "p95_us", 0},
			{"proxy saturated: p50 µs", "probes-at-once", "p50_us", 0}, {"p95 µs", "probes-at-once", "p95_us", 0},
			{"without a pause: p50 µs", "probes-100", "p50_us", 0}, {"p95 µs", "probes-100", "p95_us", 0}, {"a second", "probes-100", "requests_per_second", 0}}},
		"crowds": {[]string{"semantic"}, []column{
			{"10,000 idle: MiB", "crowd-idle-10000", "rss_mib", 0}, {"KiB each", "crowd-idle-10000", "kib_a_connection", 1}, {"a probe's p99 µs", "crowd-idle-10000", "probe_p99_us", 0},
			{"5,000 unread streams: MiB", "crowd-slow-5000", "rss_mib", 0}, {"KiB each", "crowd-slow-5000", "kib_a_stream", 1}, {"a probe's p99 µs", "crowd-slow-5000", "probe_p99_us", 0}}},
		"refusals": {[]string{"semantic"}, []column{{"p50 µs", "refusals-1000", "p50_us", 0}, {"p99 µs", "refusals-1000", "p99_us", 0}}},
		"leaving":  {[]string{"semantic", "nginx"}, []column{{"p50 µs", "leaving", "p50_us", 0}, {"p99 µs", "leaving", "p99_us", 0}, {"longest µs", "leaving", "most_us", 0}}},
		"floor":    {[]string{"epoll bare", "semantic bare", "nginx bare", "haproxy bare"}, []column{{"CPU µs a request", "floor-64", "cpu_us", 1}}},
	}
)

// blocks are the parts of pages that the figures make, by their names.
func (r *results) blocks() map[string]string {
	made := map[string]string{"machine": r.machine(), "aims": r.aims(), "summary": r.summary()}
	for name, t := range tables {
		made[name] = r.table(t)
	}
	return made
}

func (r *results) table(t table) string {
	var b strings.Builder
	b.WriteString("|  |")
	for _, c := range t.columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.columns)) + "\n")
	for _, peer := range t.peers {
		b.WriteString("| " + peer + " |")
		for _, c := range t.columns {
			b.WriteString(" " + cell(r.Cases[c.name][peer][c.metric], c.decimals) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell is the median, with the whole spread behind it.
func cell(rounds []float64, decimals int) string {
	if len(rounds) == 0 {
		return ""
	}
	s := measure.SpreadOf(rounds)
	return fmt.Sprintf("%.*f (%.*f–%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

// machine says where and when the figures were taken.
func (r *results) machine() string {
	m := &r.Machine
	return fmt.Sprintf("An %s with %d cores, %s, %s; load averages before the last run %s. In it %s, %s.\n",
		m.CPU, m.Cores, m.Go, m.Date, m.LoadAverage, r.version("nginx"), r.version("haproxy"))
}

// version is what a peer said of its own, without its address and the like.
func (r *results) version(peer string) string {
	said, _, _ := strings.Cut(r.Peers[peer], " - ")
	return strings.TrimPrefix(said, "nginx version: ")
}

// aims says of each aim whether it is reached.
func (r *results) aims() string {
	var b strings.Builder
	b.WriteString("| what | median (spread) of the rounds | aim | |\n|---|---|---|---|\n")
	for _, g := range goals {
		if v, ok := r.judge(g); ok {
			fmt.Fprintf(&b, "| %s | %.4g (%.4g–%.4g) | ≤ %g | %s |\n", v.what, v.Median, v.Min, v.Max, g.most, v.verdict)
		}
	}
	return b.String()
}

// summary is the medians of the usual request, in one line of a table.
func (r *results) summary() string {
	names := []string{"semantic", "nginx", "haproxy", "caddy", "reverseproxy"}
	titles := []string{"Semantic", "nginx", "HAProxy", "Caddy", "ReverseProxy"}
	row := "|"
	for _, name := range names {
		rounds := r.Cases["small-64"][name]["cpu_us"]
		if len(rounds) == 0 {
			row += "  |"
			continue
		}
		row += fmt.Sprintf(" %.1f µs |", measure.SpreadOf(rounds).Median)
	}
	return "| " + strings.Join(titles, " | ") + " |\n|" + strings.Repeat("---|", len(titles)) + "\n" + row + "\n"
}

// Marks around a block of a page.
const (
	blockStart = "<!-- bench/proxy.json: %s -->\n"
	blockEnd   = "<!-- end -->\n"
)

// fill puts the blocks between their marks, and counts them.
func fill(page string, blocks map[string]string) (string, int, error) {
	filled := 0
	for name, text := range blocks {
		before, rest, found := strings.Cut(page, fmt.Sprintf(blockStart, name))
		if !found {
			continue
		}
		_, after, ends := strings.Cut(rest, blockEnd)
		if !ends {
			return "", 0, fmt.Errorf("the block %s has no end", name)
		}
		page = before + fmt.Sprintf(blockStart, name) + "\n" + text + "\n" + blockEnd + after
		filled++
	}
	return page, filled, nil
}
