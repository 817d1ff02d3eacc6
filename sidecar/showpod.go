package sidecar

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/sidecar/alertmanager"
	"github.com/semantic-pod/semantic/sidecar/console"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
)

// newConsole makes the page that shows the pod; nil where there is no pod to ask.
func (s *Sidecar) newConsole() *console.Console {
	if s.cfg.ProxySocket == "" || s.cfg.EngineSocket == "" {
		return nil
	}
	return console.New(console.Config{
		Proxy: s.cfg.ProxySocket, Engine: s.cfg.EngineSocket, ProxyURL: s.cfg.ProxyURL,
		Ticket: s.cfg.Ticket, TicketUsed: filepath.Join(filepath.Dir(s.cfg.Socket), "console-link-used"),
		LogDir: s.cfg.LogDir, Listen: s.address, External: s.cfg.Rules.ExternalURL, Boot: s.log.Boot(), Restarts: s.cfg.Restarts, Log: s.log.Zap(),
		Own:      func(w io.Writer) (int64, error) { return s.metrics.WriteTo(w) },
		Health:   func() any { return s.health.report(time.Now()) },
		Manifest: func() any { return s.ledger.state() },
		Verify: func(ctx context.Context) (any, error) {
			return logchain.Verify(ctx, s.cfg.LogDir, logchain.Expect{})
		},
		Alerts: func(ctx context.Context) (any, error) { return s.consoleAlerts(ctx) },
		Drift:  func() any { return s.consoleDrift() },
	})
}

// shownAlert is a rule with what is known of it now.
type shownAlert struct {
	Alert    string `json:"alert"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	State    string `json:"state"` // firing, pending, inactive, missing or unknown
	Received bool   `json:"received"`
	Silenced bool   `json:"silenced"`
}

// shownAlerts is what the console shows of alerts, and whom it could ask.
type shownAlerts struct {
	Alerts       []shownAlert `json:"alerts"`
	Prometheus   string       `json:"prometheus"`
	Alertmanager string       `json:"alertmanager"`
}

// consoleAlerts lists the rules of this version, with Prometheus's and Alertmanager's states.
func (s *Sidecar) consoleAlerts(ctx context.Context) (shownAlerts, error) {
	rules, _, err := s.runbook.alertRules()
	if err != nil {
		return shownAlerts{}, err
	}
	v := shownAlerts{Alerts: []shownAlert{}, Prometheus: "not configured (--prometheus-url)", Alertmanager: "not configured (--alertmanager-url)"}
	states, received := map[string]string{}, map[string]bool{}
	asked := false
	if at := s.cfg.Rules.Prometheus; at != "" {
		c := prometheus.New(at)
		defer c.Close()
		if states, err = c.AlertStates(ctx); err != nil {
			v.Prometheus = err.Error()
		} else {
			v.Prometheus, asked = "answers", true
		}
	}
	if at := s.cfg.Rules.Alertmanager; at != "" {
		c := alertmanager.New(at)
		defer c.Close()
		if received, err = c.Alerts(ctx); err != nil {
			v.Alertmanager = err.Error()
		} else {
			v.Alertmanager = "answers"
		}
	}
	for _, r := range rules {
		a := shownAlert{Alert: r.Alert, Severity: r.Labels["severity"], Summary: r.Annotations["runbook_summary"], State: "unknown"}
		if state, has := states[r.Alert]; has {
			a.State = state
		} else if asked {
			a.State = "missing"
		}
		a.Silenced, a.Received = received[r.Alert], false
		if _, has := received[r.Alert]; has {
			a.Received = true
		}
		v.Alerts = append(v.Alerts, a)
	}
	return v, nil
}

// consoleDrift says how many differences to the SBOM each binary has.
func (s *Sidecar) consoleDrift() any {
	type row struct {
		Process     string `json:"process"`
		Differences int    `json:"differences"`
	}
	var rows []row
	for _, name := range s.drift.processes() {
		rows = append(rows, row{name, int(s.drift.drift[name].Get())})
	}
	return map[string]any{"serial": s.origin.bom.SerialNumber, "processes": rows}
}

// mountConsole adds the console's routes to the public ones.
func (s *Sidecar) mountConsole(mux *http.ServeMux) {
	if s.console != nil {
		s.console.Serve(mux)
	}
}
