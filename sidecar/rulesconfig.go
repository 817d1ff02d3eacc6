package sidecar

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/alerts"
)

// What the sidecar does with the alert rules.
const (
	rulesOff     = "off"
	rulesDeliver = "deliver"
	rulesVerify  = "verify"
)

// RulesConfig says which alert rules there are, and what the sidecar has to do with
// Prometheus and Alertmanager.
type RulesConfig struct {
	Mode          string        `name:"rules-mode" enum:"off,deliver,verify" default:"off" help:"What to do with the alert rules: deliver them to Prometheus's folder, only verify that Prometheus has them, or off."`
	Dir           string        `name:"rules-dir" help:"Prometheus's folder of rules, for --rules-mode=deliver; its rule_files must match *.yml there." placeholder:"DIR"`
	CheckInterval time.Duration `name:"rules-check-interval" default:"1m" help:"Time between two checks that Prometheus has the rules and evaluates them." placeholder:"DURATION"`
	Prometheus    string        `name:"prometheus-url" help:"Address of Prometheus, started with --web.enable-lifecycle for --rules-mode=deliver." placeholder:"URL"`
	Alertmanager  string        `name:"alertmanager-url" help:"Address of Alertmanager, to silence this pod while it drains; none if not given." placeholder:"URL"`
	SilenceFor    time.Duration `name:"silence-for" default:"2m" help:"Time that the silence of a drain holds without being extended." placeholder:"DURATION"`
	Instances     []string      `name:"alert-instance" help:"Labels instance of this pod's targets in Prometheus; by default the addresses of proxy and sidecar." placeholder:"NAME,..."`
	ExternalURL   string        `name:"external-url" help:"Address at which people reach the sidecar, for the alerts' runbook_url; by default that of --sidecar-listen." placeholder:"URL"`
	DashboardURL  string        `name:"dashboard-url" default:"http://127.0.0.1:3000/d/semantic" help:"Address of the dashboard, for the alerts' dashboard_url." placeholder:"URL"`
	Set           []string      `name:"alert-set" help:"Parameters of the alert rules, as listed by semantic rules parameters." placeholder:"NAME=VALUE,..."`
	File          string        `name:"alert-file" help:"YAML file of parameters of the alert rules, read again when it changes; --alert-set goes before it." placeholder:"FILE"`
	Follow        string        `name:"alert-config" hidden:"" help:"File of settings from which those of the alert rules are read again; by default that of --config." placeholder:"FILE"`
	Fixed         []string      `kong:"-"` // of Followed, those that a flag or a variable gives
}

const (
	minRulesInterval = 100 * time.Millisecond
	minSilence       = time.Second
)

// Validate says which setting is wrong.
func (c *RulesConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, u := range []struct{ flag, value string }{
		{"prometheus-url", c.Prometheus}, {"alertmanager-url", c.Alertmanager}, {"external-url", c.ExternalURL}, {"dashboard-url", c.DashboardURL},
	} {
		if u.value != "" && !isWebAddress(u.value) {
			bad("--%s=%s is no address such as http://localhost:9090", u.flag, u.value)
		}
	}
	switch c.Mode {
	case rulesDeliver:
		if c.Dir == "" {
			bad("--rules-mode=deliver needs --rules-dir, the folder that rule_files in Prometheus's configuration names")
		}
		fallthrough
	case rulesVerify:
		if c.Prometheus == "" {
			bad("--rules-mode=%s needs --prometheus-url", c.Mode)
		}
	case rulesOff, "":
	default:
		bad("--rules-mode=%s must be off, deliver or verify", c.Mode)
	}
	if c.Mode == rulesVerify && c.Dir != "" {
		bad("--rules-dir=%s contradicts --rules-mode=verify, which writes nothing", c.Dir)
	}
	if c.Mode != rulesOff && c.Mode != "" && c.CheckInterval < minRulesInterval {
		bad("--rules-check-interval=%s must be at least %s", c.CheckInterval, minRulesInterval)
	}
	if c.Alertmanager != "" && c.SilenceFor < minSilence {
		bad("--silence-for=%s must be at least %s", c.SilenceFor, minSilence)
	}
	if _, err := c.values(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func isWebAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Values reads the parameters as they are now: defaults, then the file, then what
// was set.
func (c *RulesConfig) Values() (alerts.Values, error) {
	is, err := c.now()
	if err != nil {
		return nil, err
	}
	return is.values()
}

func (c *RulesConfig) values() (alerts.Values, error) {
	v := alerts.Defaults()
	if c.File != "" {
		text, err := os.ReadFile(c.File)
		if err != nil {
			return nil, fmt.Errorf("cannot read --alert-file: %w", err)
		}
		set, err := alerts.ParseFile(text)
		if err == nil {
			v, err = v.With(set)
		}
		if err != nil {
			return nil, fmt.Errorf("--alert-file=%s: %w", c.File, err)
		}
	}
	v, err := v.WithWords(c.Set)
	if err != nil {
		return nil, fmt.Errorf("--alert-set: %w", err)
	}
	return v, nil
}

// Groups returns the rules with the parameters as they are now. The sidecar's own
// address is where runbooks are when no other is given.
func (c *RulesConfig) Groups(sidecar string) ([]alerts.Group, error) {
	is, err := c.now()
	if err != nil {
		return nil, err
	}
	v, err := is.values()
	if err != nil {
		return nil, err
	}
	return alerts.Expand(v, alerts.Links{Runbooks: is.external(sidecar) + "/runbooks/", Dashboard: is.DashboardURL})
}

func (c *RulesConfig) external(sidecar string) string {
	if c.ExternalURL != "" {
		return strings.TrimRight(c.ExternalURL, "/")
	}
	return "http://" + reachable(sidecar)
}

// reachable turns an address to listen on into one to connect to, as far as that can
// be told.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		if name, err := os.Hostname(); err == nil {
			return net.JoinHostPort(name, port)
		}
	}
	return address
}
