package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
)

// rulesCmd shows the alert rules that the sidecar delivers, and holds Prometheus
// against them.
type rulesCmd struct {
	Render     rulesRenderCmd     `cmd:"" help:"Print the alert rules with this deployment's parameters."`
	Check      rulesCheckCmd      `cmd:"" help:"Check the parameters, and with --prometheus-url that Prometheus parses, has and evaluates the rules."`
	Parameters rulesParametersCmd `cmd:"" help:"List the parameters of the alert rules with their values."`
}

// ruleSettings are those that decide what the rules are.
type ruleSettings struct {
	Config string       `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	Listen string       `name:"sidecar-listen" default:"127.0.0.1:8002" placeholder:"HOST:PORT" help:"TCP address of the sidecar, to which runbook_url points unless --external-url does."`
	Rules  ruleSetFlags `embed:""`
	rules  *sidecar.RulesConfig
}

// podSocket takes the rules from a pod that runs.
type podSocket struct {
	Socket string `name:"socket" env:"-" placeholder:"PATH" help:"Unix socket of a sidecar that runs: its rules, whatever the settings here would make."`
}

// rules asks the sidecar, or makes them of the settings if no socket was given.
func (p podSocket) rules(s *ruleSettings) ([]alerts.Group, error) {
	groups, err := s.groups()
	if p.Socket == "" || err != nil {
		return groups, err
	}
	var text bytes.Buffer
	ask := probeCmd{Socket: p.Socket, Timeout: podTimeout, Path: api.PathRules}
	if err := ask.Run(&world{stdout: &text}); err != nil {
		return nil, fmt.Errorf("cannot have the pod's rules: %w", err)
	}
	return alerts.Parse(text.Bytes())
}

const podTimeout = 10 * time.Second

// ruleSetFlags is sidecar.RulesConfig without its Validate, which asks for what only
// a sidecar needs.
type ruleSetFlags sidecar.RulesConfig

func (s *ruleSettings) groups() ([]alerts.Group, error) {
	s.rules = (*sidecar.RulesConfig)(&s.Rules)
	groups, err := s.rules.Groups(s.Listen)
	return groups, usage(err)
}

type rulesRenderCmd struct {
	Settings ruleSettings `embed:""`
	Pod      podSocket    `embed:""`
	Format   string       `name:"format" enum:"prometheus,prometheusrule,vmalert" default:"prometheus" env:"-" help:"Form: prometheus, prometheusrule (for the operator in Kubernetes) or vmalert."`
}

func (c *rulesRenderCmd) Run(w *world) error {
	groups, err := c.Pod.rules(&c.Settings)
	if err != nil {
		return err
	}
	text, err := alerts.Render(groups, alerts.Format(c.Format))
	if err != nil {
		return err
	}
	_, err = w.stdout.Write(text)
	return err
}

type rulesCheckCmd struct {
	Settings ruleSettings  `embed:""`
	Pod      podSocket     `embed:""`
	Wait     time.Duration `name:"wait" default:"2m" env:"-" placeholder:"DURATION" help:"Time to wait for rules that are loaded to be evaluated."`
}

func (c *rulesCheckCmd) Run(w *world) error {
	groups, err := c.Pod.rules(&c.Settings)
	if err != nil {
		return err
	}
	rules := 0
	for _, g := range groups {
		rules += len(g.Rules)
	}
	if c.Settings.rules.Prometheus == "" {
		_, err := fmt.Fprintf(w.stdout, "%d rules, %d alerts; not held against a Prometheus: say --prometheus-url\n", rules, len(alerts.Names()))
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client := prometheus.New(c.Settings.rules.Prometheus)
	defer client.Close()
	for _, g := range groups {
		for _, r := range g.Rules {
			if _, err := client.Canonical(ctx, r.Expr); err != nil {
				return fmt.Errorf("%s: %w", r.Name(), err)
			}
		}
	}
	proved, err := waitForRules(ctx, client, groups, c.Wait)
	if err != nil {
		return fmt.Errorf("%d of %d rules are in force: %w", proved, rules, err)
	}
	_, err = fmt.Fprintf(w.stdout, "%d rules are loaded as they should be, and evaluated without an error\n", proved)
	return err
}

// waitForRules waits for rules that only lack their first evaluation.
func waitForRules(ctx context.Context, client *prometheus.Client, groups []alerts.Group, wait time.Duration) (proved int, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		proved, err = client.Check(ctx, groups, "", time.Time{})
		if !errors.Is(err, prometheus.ErrPending) {
			return proved, err
		}
		select {
		case <-ctx.Done():
			return proved, err
		case <-time.After(time.Second):
		}
	}
}

type rulesParametersCmd struct {
	Settings ruleSettings `embed:""`
}

func (c *rulesParametersCmd) Run(w *world) error {
	values, err := (*sidecar.RulesConfig)(&c.Settings.Rules).Values()
	if err != nil {
		return usage(err)
	}
	return printParameters(w.stdout, values)
}

func printParameters(out io.Writer, values alerts.Values) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARAMETER\tVALUE\tDEFAULT\tWHAT")
	for _, p := range alerts.Parameters() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", p.Name, values[p.Name], p.Default, p.Help)
	}
	return table.Flush()
}
