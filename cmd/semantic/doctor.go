package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// doctorCmd looks at a deployment from inside: from the host or the container in which
// it runs, with the settings with which it runs.
type doctorCmd struct {
	Settings       ruleSettings  `embed:""`
	DataDir        string        `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state of the pod."`
	LogDir         string        `name:"log-dir" placeholder:"DIR" help:"Folder for logs; by default logs below --data-dir."`
	SocketDir      string        `name:"socket-dir" placeholder:"DIR" help:"Folder for the Unix sockets; by default run below --data-dir."`
	MaxConnections int           `name:"max-connections" default:"16384" help:"The proxy's: client connections that may be open at once, for each of which it needs a file."`
	Collector      string        `name:"collector" env:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" help:"Address of the OTLP collector; by default none."`
	MinFree        float64       `name:"min-free" default:"0.05" env:"-" placeholder:"SHARE" help:"Share of each volume that must be free."`
	Timeout        time.Duration `name:"timeout" default:"5s" env:"-" help:"Time for each answer from elsewhere; rules that lack their first evaluation get it too."`
	JSON           bool          `name:"json" env:"-" help:"Print the findings as JSON."`
}

// The verdicts.
const (
	wellVerdict    = "ok"
	badVerdict     = "failed"
	skippedVerdict = "skipped" // it does not apply to this deployment
)

// finding is what one check found.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Found   string `json:"found"`
	Do      string `json:"do,omitempty"` // only of what failed, or was skipped for want of a setting
}

func well(format string, args ...any) finding {
	return finding{Verdict: wellVerdict, Found: fmt.Sprintf(format, args...)}
}

func bad(do, format string, args ...any) finding {
	return finding{Verdict: badVerdict, Found: fmt.Sprintf(format, args...), Do: do}
}

func skipped(found, do string) finding {
	return finding{Verdict: skippedVerdict, Found: found, Do: do}
}

func (c *doctorCmd) Run(w *world) error {
	if c.MinFree < 0 || c.MinFree >= 1 {
		return usage(fmt.Errorf("--min-free=%v is no share between 0 and 1", c.MinFree))
	}
	if c.LogDir == "" {
		c.LogDir = filepath.Join(c.DataDir, "logs")
	}
	if c.SocketDir == "" {
		c.SocketDir = filepath.Join(c.DataDir, "run")
	}
	groups, err := c.Settings.groups() // parameters that make no sense are the settings' fault
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	checks := []struct {
		name string
		run  func(context.Context) finding
	}{
		{"proxy's socket", c.socketOf("proxy")},
		{"engine's socket", c.socketOf("engine")},
		{"sidecar's socket", c.socketOf("sidecar")},
		{"permissions", c.permissions},
		{"disk", c.disk},
		{"open files", c.openFiles},
		{"certificate authorities", authorities},
		{"clock", c.clock},
		{"Prometheus", c.prometheus},
		{"alert rules", func(ctx context.Context) finding { return c.rules(ctx, groups) }},
		{"Alertmanager", c.alertmanager},
		{"collector", c.collector},
	}
	findings := make([]finding, len(checks))
	failed := 0
	for i, check := range checks {
		findings[i] = check.run(ctx)
		findings[i].Check = check.name
		if findings[i].Verdict == badVerdict {
			failed++
		}
	}
	if err := c.print(w.stdout, findings); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return nil
}

func (c *doctorCmd) print(out io.Writer, findings []finding) error {
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(out, "%-8s %s: %s\n", f.Verdict, f.Check, f.Found); err != nil {
			return err
		}
		if f.Do == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "         → %s\n", f.Do); err != nil {
			return err
		}
	}
	return nil
}
