package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
)

const sayPrometheus = "say --prometheus-url to have it checked"

// clock compares ours with Prometheus's: rates and traces need them to agree.
func (c *doctorCmd) clock(ctx context.Context) finding {
	if c.Settings.rules.Prometheus == "" {
		return skipped("there is no other clock to compare with", sayPrometheus)
	}
	began := time.Now()
	resp, err := c.get(ctx, c.Settings.rules.Prometheus+"/-/healthy")
	if err != nil {
		return skipped("Prometheus does not answer", "see below")
	}
	resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return skipped("Prometheus does not tell its time", "compare them with date(1)")
	}
	const most = 5 * time.Second // the header has whole seconds
	off := began.Sub(there)
	if off.Abs() > most+time.Since(began) {
		return bad("synchronize both hosts (chrony, systemd-timesyncd)", "it differs from Prometheus's by %s", off.Round(time.Second))
	}
	return well("it agrees with Prometheus's")
}

func (c *doctorCmd) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: c.Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Do(req)
}

// prometheus: it scrapes this pod, and gets answers.
func (c *doctorCmd) prometheus(ctx context.Context) finding {
	cfg := c.Settings.rules
	if cfg.Prometheus == "" {
		return skipped("none is set", sayPrometheus)
	}
	values, err := cfg.Values()
	if err != nil {
		return bad("correct --alert-set or --alert-file", "%v", err)
	}
	query := fmt.Sprintf("up{job=~%q}", fmt.Sprint(values["job"]))
	resp, err := c.get(ctx, cfg.Prometheus+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return bad("start it, or correct --prometheus-url; a NetworkPolicy may be in the way", "%v", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return bad("correct --prometheus-url: this is no Prometheus", "%s answers %s", cfg.Prometheus, resp.Status)
	}
	up, down := 0, ""
	for _, target := range answer.Data.Result {
		instance := target.Metric["instance"]
		switch {
		case len(cfg.Instances) > 0 && !slices.Contains(cfg.Instances, instance): // another pod's
		case target.Value[1] == "1":
			up++
		default:
			down = instance
		}
	}
	switch {
	case down != "":
		return bad("open "+cfg.Prometheus+"/targets, which tells why; a NetworkPolicy or a loopback address may be in the way", "it scrapes %s without getting an answer", down)
	case up == 0:
		return bad("add the scrape jobs of deploy/prometheus/prometheus.yml, or the chart's PodMonitor; in another job: --alert-set job=NAME", "it has no target for %s", query)
	}
	return well("it scrapes %d targets of ours", up)
}

func (c *doctorCmd) rules(ctx context.Context, groups []alerts.Group) finding {
	cfg := c.Settings.rules
	if cfg.Prometheus == "" || cfg.Mode == "off" {
		return skipped("the sidecar has nothing to do with them", "say --rules-mode and --prometheus-url as the sidecar has them")
	}
	client := prometheus.New(cfg.Prometheus)
	defer client.Close()
	proved, err := waitForRules(ctx, client, groups, c.Timeout)
	if err != nil {
		return bad("with --rules-mode=deliver see the sidecar's log; with verify apply the PrometheusRule (semantic rules render --format prometheusrule), with the same --external-url",
			"%d are in force: %v", proved, err)
	}
	return well("%d are loaded and evaluated without an error", proved)
}

func (c *doctorCmd) alertmanager(ctx context.Context) finding {
	at := c.Settings.rules.Alertmanager
	if at == "" {
		return skipped("none is set", "say --alertmanager-url, so that a drain is silent")
	}
	resp, err := c.get(ctx, at+"/-/ready")
	if err != nil {
		return bad("start it, or correct --alertmanager-url; a NetworkPolicy may be in the way", "%v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return bad("see its log", "%s answers %s", at, resp.Status)
	}
	return well("%s is ready", at)
}

// collector: something listens there. What it does with spans only it can tell.
func (c *doctorCmd) collector(ctx context.Context) finding {
	if c.Collector == "" {
		return skipped("traces are off", "set OTEL_EXPORTER_OTLP_ENDPOINT to send them")
	}
	address := c.Collector
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[bool]string{true: "443", false: "80"}[strings.HasPrefix(u.Scheme, "https")])
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return bad("start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT; until then spans are dropped and counted", "%v", err)
	}
	conn.Close()
	return well("%s takes connections", address)
}
