package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/semantic-pod/semantic/api"
)

// twoColumns is the width from which sections stand beside each other.
const twoColumns = 96

// render draws the screen: as many lines as the terminal has, none wider than it.
func render(cfg *Config, w *window, away error, width, height int) string {
	width, height = max(width, 20), max(height, 4)
	lines := []string{header(cfg, w, width)}
	if away != nil {
		lines = append(lines, red(fmt.Sprintf("The pod is away: %s: %s. Asking again every %s.", cfg.URL, printable(away.Error()), cfg.Interval)), "")
	}
	if w.last() == nil {
		if away == nil {
			lines = append(lines, "Looking at "+cfg.URL)
		}
		return strings.Join(fitAll(lines, width, height), "\n")
	}
	// Alerts come first: what is cut off below must not be what matters most.
	lines = append(lines, alerts(w)...)
	left := append(traffic(w), latency(w)...)
	right := append(pool(w), append(keys(w), agents(w)...)...)
	if width >= twoColumns {
		lines = append(lines, beside(left, right, width)...)
	} else {
		lines = append(append(lines, left...), right...)
	}
	return strings.Join(fitAll(lines, width, height), "\n")
}

// fitAll cuts the screen to size. The last line says how to leave.
func fitAll(lines []string, width, height int) []string {
	if len(lines) > height-1 {
		lines = lines[:height-1]
	}
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], width, "")
	}
	return append(lines, dim(ansi.Truncate("q or ctrl-c ends", width, "")))
}

// beside puts two sections next to each other.
func beside(left, right []string, width int) []string {
	half := width / 2
	all := make([]string, max(len(left), len(right)))
	for i := range all {
		var l, r string
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		all[i] = fit(l, half) + r
	}
	return all
}

func header(cfg *Config, w *window, width int) string {
	state := "looking"
	if l := w.last(); l != nil {
		switch {
		case l.ready.Status == "ready":
			state = "ready"
		case l.ready.Reason != "":
			state = yellow("not ready: " + printable(l.ready.Reason))
		default:
			state = yellow("not ready")
		}
		if w.value("semantic_engine_up") == 0 {
			state += red("  engine is down")
		}
	}
	clock := ""
	if l := w.last(); l != nil {
		clock = l.at.Format(time.TimeOnly)
	}
	text := bold("semantic top") + "  " + cfg.URL + "  " + state
	return fit(text, width-len(clock)-1) + " " + clock
}

// section is the head of one.
func section(name string) string { return bold(name) }

// shown are the finish classes that are shown although nothing ended in them.
var shown = map[api.Finish]bool{api.FinishStop: true, api.FinishLength: true, api.FinishRejected: true, api.FinishShed: true}

// goodEnds are the classes that say nothing bad of the pod.
var goodEnds = map[api.Finish]bool{
	api.FinishOK: true, api.FinishStop: true, api.FinishLength: true, api.FinishToolCalls: true, api.FinishRejected: true, api.FinishClientGone: true,
}

func traffic(w *window) []string {
	prompt, cached := w.rate("semantic_prompt_tokens_total"), w.rate("semantic_prompt_tokens_cached_total")
	share := 0.0
	if prompt > 0 {
		share = 100 * cached / prompt
	}
	lines := []string{
		section(fmt.Sprintf("Requests, last %.0f s", w.seconds())),
		fmt.Sprintf("%-14s%9.1f/s %11.0f", "all", w.rate("semantic_request_total"), w.value("semantic_request_total")),
	}
	for _, class := range api.Finishes {
		total := w.value("semantic_finish_total", "class", string(class))
		rate := w.rate("semantic_finish_total", "class", string(class))
		if total == 0 && !shown[class] {
			continue
		}
		line := fmt.Sprintf("  %-12s%9.1f/s %11.0f", class, rate, total)
		if rate > 0 && !goodEnds[class] {
			line = red(line)
		}
		lines = append(lines, line)
	}
	return append(lines,
		fmt.Sprintf("%-14s%9.1f/s %11.0f", "tokens out", w.rate("semantic_tokens_generated_total"), w.value("semantic_tokens_generated_total")),
		fmt.Sprintf("%-14s%9.1f/s %11.0f  %3.0f%% cached", "tokens in", prompt, w.value("semantic_prompt_tokens_total"), share),
		"")
}

func latency(w *window) []string {
	lines := []string{section("Latency") + fmt.Sprintf("%16s%9s%9s%9s", "p50", "p95", "p99", "n")}
	for _, row := range []struct{ title, name string }{
		{"first token", "semantic_time_to_first_token_seconds"},
		{"between tokens", "semantic_inter_token_latency_seconds"},
		{"whole request", "semantic_request_duration_seconds"},
		{"queue", "semantic_queue_wait_seconds"},
		{"step", "semantic_decode_step_seconds"},
		{"proxy's own", "semantic_proxy_overhead_seconds"},
	} {
		all := w.buckets(row.name)
		n := 0.0
		if len(all) > 0 {
			n = all[len(all)-1].count
		}
		lines = append(lines, fmt.Sprintf("%-14s%9s%9s%9s%9.0f", row.title,
			duration(quantile(.5, all)), duration(quantile(.95, all)), duration(quantile(.99, all)), n))
	}
	return append(lines, "")
}

func pool(w *window) []string {
	used := w.value("semantic_pool_utilization_ratio")
	line := fmt.Sprintf("KV pool   %s %5.1f%%", bar(used, 20), 100*used)
	if used > .9 {
		line = red(line)
	}
	return []string{
		section("Engine"),
		fmt.Sprintf("running %-5.0f queued %-5.0f in flight %-5.0f", w.value("vllm:num_requests_running"), w.value("semantic_request_queue_depth"), w.value("semantic_requests_in_flight")),
		line,
		fmt.Sprintf("agents in memory %-5.0f evictions %.1f/s  restarts %.0f", w.value("semantic_agents_active"), w.rate("semantic_eviction_total"), w.value("semantic_engine_restarts_total")),
		fmt.Sprintf("memory    proxy %s, engine %s",
			amount(w.value("process_resident_memory_bytes", "process", "proxy"), 1024, "B"), amount(w.value("process_resident_memory_bytes", "process", "engine"), 1024, "B")),
		"",
	}
}

// most is how many keys and agents are listed.
const most = 8

func keys(w *window) []string {
	all := w.each("semantic_key_limit_used_ratio", "key")
	if len(all) == 0 {
		return nil
	}
	lines := []string{section("Keys, by what they used of their limits")}
	for _, k := range all[:min(most, len(all))] {
		line := fmt.Sprintf("%-20.20s %s %5.1f%%", printable(k.label), bar(k.value, 14), 100*k.value)
		if k.value >= .9 {
			line = yellow(line)
		}
		lines = append(lines, line)
	}
	return append(lines, "")
}

func agents(w *window) []string {
	l := w.last()
	lines := []string{section("Agents, used last")}
	if l.agentsErr != nil {
		return append(lines, dim(printable(l.agentsErr.Error())))
	}
	if len(l.agents) == 0 {
		return append(lines, dim("none"))
	}
	all := slices.Clone(l.agents)
	slices.SortStableFunc(all, func(a, b agent) int {
		return cmp.Or(cmp.Compare(b.LastUsed, a.LastUsed), cmp.Compare(b.Tokens, a.Tokens), strings.Compare(a.ID, b.ID))
	})
	for _, a := range all[:min(most, len(all))] {
		ago := max(0, l.at.Sub(time.Unix(a.LastUsed, 0)).Seconds())
		lines = append(lines, fmt.Sprintf("%-18.18s %-5.5s %7d tokens %9s %7s ago", printable(a.ID), a.Tier, a.Tokens, amount(float64(a.Bytes), 1024, "B"), time.Duration(ago)*time.Second))
	}
	if more := len(all) - most; more > 0 {
		lines = append(lines, dim(fmt.Sprintf("and %d more", more)))
	}
	return lines
}

func alerts(w *window) []string {
	l := w.last()
	if l.alertsErr != nil {
		return []string{section("Alerts: ") + dim(printable(l.alertsErr.Error())), ""}
	}
	if len(l.alerts) == 0 {
		return []string{section("Alerts: ") + "none", ""}
	}
	lines := []string{section("Alerts")}
	for _, a := range l.alerts[:min(most, len(l.alerts))] {
		line := fmt.Sprintf("%-8s %-9s %-34s for %-8s %s", printable(a.State), printable(a.Severity), printable(a.Name), l.at.Sub(a.Since).Round(time.Second), printable(a.Summary))
		switch {
		case a.State != "firing":
			line = dim(line)
		case a.Severity == "critical":
			line = red(line)
		default:
			line = yellow(line)
		}
		lines = append(lines, line)
	}
	return append(lines, "")
}
