// Package sidecar is the process beside the pod's others: it rotates, compresses
// and retains the logs that they write, without a signal, a shared process
// namespace, or a word between them: what it knows it reads from the log folder.
// What it does there it lists in a manifest that proves it. It also sees to it that
// Prometheus has the alert rules, silences them while the pod drains, and serves
// their runbooks; and it tells what the pod's binaries are made of, and whether they are
// that. It is not on the request path, and nothing that fails in the folder
// or elsewhere ends it.
//
// Read: config, rulesconfig, rulesfollow, age, sidecar, duty, owner, ledger, names, due, rotate,
// archive, seal, compress, errors, retain, buckets, ship, cursor, tail, shipotlp, rules, rulefile,
// silence, alertlist, runbook,
// values, sbom, drift, health, showpod, serve, resident, conclude.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/runbooks"
	"github.com/semantic-pod/semantic/sidecar/console"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/semantic-pod/semantic/telemetry/otlp"
	"github.com/semantic-pod/semantic/unixsock"
)

// Sidecar is the process.
type Sidecar struct {
	cfg     Config
	log     *telemetry.Log
	metrics *telemetry.Metrics
	otlp    *otlp.Exporter // nil if nothing is sent
	owner   *ownership
	ledger  *ledger
	rotator *rotator
	archive *archiver
	ship    *shipper     // nil: nothing is shipped
	lines   *lineShipper // nil: no lines are sent
	rules   *ruleKeeper  // nil: nothing to keep
	silence *silencer    // nil: no Alertmanager
	alerts  *alertList
	runbook *runbook
	origin  *origin
	drift   *driftWatch
	health  *health
	console *console.Console // nil: no pod to show

	tcp      net.Listener
	cancel   context.CancelFunc // of the loops
	loops    sync.WaitGroup
	cleanups []cleanup
	errs     chan error
}

// cleanup is one step of Stop.
type cleanup struct {
	name string
	run  func(context.Context) error
}

// New returns a sidecar that is not started.
func New(cfg Config, log *telemetry.Log) (*Sidecar, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := telemetry.NewMetrics("sidecar")
	log.Register(m)
	owner := newOwnership(cfg.LogDir, ownerName, "the logs of this --log-dir")
	ledger, err := newLedger(cfg, owner, log, m)
	if err != nil {
		return nil, err
	}
	rotator, err := newRotator(cfg, owner, ledger, log.Zap(), m)
	if err != nil {
		return nil, err
	}
	s := &Sidecar{
		cfg: cfg, log: log, metrics: m, owner: owner, ledger: ledger, rotator: rotator,
		archive: newArchiver(cfg, ledger, log.Zap(), m),
		errs:    make(chan error, 2),
	}
	logs := []*duty{s.rotator.duty, s.archive.duty}
	s.health = &health{duties: logs, first: logs}
	if s.ship = newShipper(cfg, ledger, log.Zap(), m); s.ship != nil {
		s.health.duties = append(s.health.duties, s.ship.duty)
	}
	if s.lines, err = newLineShipper(cfg, owner, log.Zap(), m); err != nil {
		return nil, err
	}
	if s.lines != nil {
		s.health.duties = append(s.health.duties, s.lines.duty)
	}
	s.archive.shipped = s.shipped
	s.newAlerting(m)
	if s.origin, err = newOrigin(cfg.ReleaseDir); err != nil {
		return nil, err
	}
	s.drift = newDriftWatch(s.origin, map[string]string{"proxy": cfg.ProxySocket, "engine": cfg.EngineSocket}, log.Zap(), m)
	s.health.duties = append(s.health.duties, s.drift.duty)
	s.console = s.newConsole()
	if s.otlp, err = otlp.Open("sidecar", m, log.Zap()); err != nil {
		return nil, err
	}
	return s, nil
}

// shipped reports whether a file, or what it says, is everywhere where it is to be.
func (s *Sidecar) shipped(f file) bool {
	if s.ship != nil && !s.archive.manifest.IsShipped(f.name()) {
		return false
	}
	return s.lines == nil || s.lines.sent(f)
}

// newAlerting makes what has to do with alerts.
func (s *Sidecar) newAlerting(m *telemetry.Metrics) {
	log := s.log.Zap()
	s.alerts = newAlertList(s.cfg.Rules.Prometheus)
	s.runbook = newRunbook(s)
	s.rules = newRuleKeeper(s.cfg.Rules, s.address, log, m)
	s.silence = newSilencer(s.cfg.Rules, s.cfg.ProxySocket, s.instances(), log, m)
	if s.rules != nil {
		s.health.duties = append(s.health.duties, s.rules.duty)
	}
	if s.silence != nil {
		s.health.duties = append(s.health.duties, s.silence.duty)
	}
}

// address is where it listens, or will.
func (s *Sidecar) address() string {
	if s.tcp == nil {
		return s.cfg.Listen
	}
	return s.tcp.Addr().String()
}

// places are what the runbooks' commands need.
func (s *Sidecar) places() runbooks.Places {
	return runbooks.Places{
		Proxy: s.cfg.ProxyURL, Sidecar: s.cfg.Rules.external(s.address()),
		Logs: s.cfg.LogDir, Sockets: filepath.Dir(s.cfg.Socket),
	}
}

// instances are the pod's targets as Prometheus names them.
func (s *Sidecar) instances() []string {
	if len(s.cfg.Rules.Instances) > 0 {
		return s.cfg.Rules.Instances
	}
	names := []string{s.cfg.Listen}
	if u, err := url.Parse(s.cfg.ProxyURL); err == nil && u.Host != "" {
		names = append(names, u.Host)
	}
	return names
}

// Start listens and begins to look after the logs.
func (s *Sidecar) Start() error {
	tcp, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen: --sidecar-listen=%s: %w", s.cfg.Listen, err)
	}
	s.tcp = tcp
	s.onStop("export of metrics", func(context.Context) error { return s.otlp.Close() })
	s.onStop("list of alerts", func(context.Context) error { s.alerts.close(); return nil })
	s.serve("tcp", tcp, s.publicRoutes())
	if s.cfg.Socket != "" {
		socket, err := unixsock.Listen(s.cfg.Socket)
		if err != nil {
			stop, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return errors.Join(err, s.Stop(stop))
		}
		s.serve("socket", socket, s.podRoutes())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.onStop("log ownership", func(context.Context) error { return s.owner.release() })
	s.onStop("manifest", func(context.Context) error { return s.ledger.close() })
	s.loops.Go(func() { s.rotator.loop(ctx, s.cfg.CheckInterval) })
	s.loops.Go(func() { s.archive.loop(ctx, s.cfg.CheckInterval) })
	if s.ship != nil {
		s.loops.Go(func() { s.ship.loop(ctx) })
	}
	if s.lines != nil {
		s.loops.Go(func() { s.lines.loop(ctx) })
	}
	s.startAlerting(ctx)
	s.loops.Go(func() { s.drift.loop(ctx) })
	if s.console != nil {
		s.loops.Go(func() { s.console.Loop(ctx) })
	}
	s.loops.Go(func() { letGoLoop(ctx, s.log.Zap()) })
	s.onStop("loops", s.stopLoops)
	s.log.Announce("sidecar started", zap.String("listen", tcp.Addr().String()), zap.String("log_dir", s.cfg.LogDir))
	return nil
}

func (s *Sidecar) startAlerting(ctx context.Context) {
	if s.rules != nil {
		if file := s.rules.file; file != nil {
			s.onStop("ownership of the rules", func(context.Context) error { return file.release() })
		}
		s.loops.Go(func() { s.rules.loop(ctx) })
	}
	if s.silence != nil {
		s.loops.Go(func() { s.silence.loop(ctx) })
	}
}

// Addr is where health and metrics are served.
func (s *Sidecar) Addr() net.Addr { return s.tcp.Addr() }

// Metrics returns the sidecar's families.
func (s *Sidecar) Metrics() *telemetry.Metrics { return s.metrics }

// Err gives an error that ended a server after Start.
func (s *Sidecar) Err() <-chan error { return s.errs }

// Stop ends what Start began, in the opposite order, by ctx's deadline.
func (s *Sidecar) Stop(ctx context.Context) error {
	var errs []error
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		c := s.cleanups[i]
		if err := c.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("cannot stop %s: %w", c.name, err))
		}
	}
	s.cleanups = nil
	s.log.Announce("sidecar stopped", zap.Error(errors.Join(errs...)))
	return errors.Join(errs...)
}

func (s *Sidecar) onStop(name string, run func(context.Context) error) {
	s.cleanups = append(s.cleanups, cleanup{name, run})
}

// stopLoops ends the loops; what they were compressing is begun again next time.
func (s *Sidecar) stopLoops(ctx context.Context) error {
	s.cancel()
	ended := make(chan struct{})
	go func() { s.loops.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err() // a disk that hangs holds them
	}
}
