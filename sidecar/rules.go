package sidecar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/sidecar/prometheus"
	"github.com/semantic-pod/semantic/telemetry"
)

// ruleKeeper sees to it that Prometheus has the alert rules of this version with this
// deployment's parameters, and evaluates them. In mode deliver it writes them; in
// mode verify somebody else does.
type ruleKeeper struct {
	cfg     RulesConfig
	sidecar func() string // its own address
	client  *prometheus.Client
	file    *ruleFile // nil in mode verify
	duty    *duty
	log     *zap.Logger

	groups  []alerts.Group // that were good last
	text    []byte
	applied time.Time // when Prometheus last reloaded what we wrote

	delivered, healthy, checked *telemetry.Gauge
}

// newRuleKeeper returns nil if there is nothing to keep; the metrics are there all
// the same, with no number.
func newRuleKeeper(cfg RulesConfig, sidecar func() string, log *zap.Logger, m *telemetry.Metrics) *ruleKeeper {
	k := &ruleKeeper{
		cfg: cfg, sidecar: sidecar, log: log,
		delivered: m.Gauge("semantic_rules_delivered", "", "Rules that Prometheus was seen to have loaded as they should be, at the last check."),
		healthy:   m.Gauge("semantic_rules_healthy", "", "1 while Prometheus has all rules and evaluates them without an error; no number with --rules-mode=off."),
		checked:   m.Gauge("semantic_rules_last_check_timestamp_seconds", "", "When the rules were last read back from Prometheus; 0: never."),
	}
	if cfg.Mode == rulesOff || cfg.Mode == "" {
		k.healthy.Set(math.NaN())
		return nil
	}
	k.client = prometheus.New(cfg.Prometheus)
	k.duty = newDuty("rules", patience(cfg.CheckInterval), log, m)
	if cfg.Mode == rulesDeliver {
		k.file = newRuleFile(cfg.Dir)
	}
	return k
}

// pendingPause is how often rules that were loaded are looked at until they have been
// evaluated, which takes up to their interval.
const pendingPause = time.Second

// loop keeps the rules until ctx ends.
func (k *ruleKeeper) loop(ctx context.Context) {
	defer k.client.Close()
	for {
		err := k.check(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := k.cfg.CheckInterval
		if errors.Is(err, prometheus.ErrPending) {
			pause = min(pause, pendingPause)
		} else {
			k.duty.done(err)
		}
		if !k.duty.rest(ctx, pause) {
			return
		}
	}
}

// check delivers the rules if they are not there as they should be, and reads back
// what Prometheus has.
func (k *ruleKeeper) check(ctx context.Context) error {
	renderFault := k.render()
	if k.text == nil {
		k.healthy.Set(0)
		return renderFault
	}
	var written error
	if k.file != nil {
		written = k.deliver(ctx)
	}
	file := ""
	if k.file != nil {
		file = ruleFileName
	}
	proved, err := k.client.Check(ctx, k.groups, file, k.applied)
	k.delivered.Set(float64(proved))
	if proved > 0 {
		k.checked.Set(float64(time.Now().UnixMilli()) / 1e3)
	}
	if other := errors.Join(renderFault, written); other != nil {
		if errors.Is(err, prometheus.ErrPending) {
			err = nil
		}
		err = errors.Join(other, err)
	}
	healthy := 0.0
	if err == nil {
		healthy = 1
	}
	k.healthy.Set(healthy)
	return err
}

// render reads the parameters again. Bad ones leave the rules as they were.
func (k *ruleKeeper) render() error {
	groups, err := k.cfg.Groups(k.sidecar())
	if err != nil {
		return err
	}
	text, err := alerts.Render(groups, alerts.Prometheus)
	if err != nil {
		return err
	}
	k.groups, k.text = groups, text
	return nil
}

// deliver writes the rules unless they are there. Prometheus's own parser sees each
// expression first, and a file that it refuses all the same goes again, since with
// that on the disk Prometheus could not start.
func (k *ruleKeeper) deliver(ctx context.Context) error {
	if err := k.file.hold(); err != nil {
		return err
	}
	same, err := k.file.holds(k.text)
	if err != nil || same {
		return err
	}
	for _, g := range k.groups {
		for _, r := range g.Rules {
			if _, err := k.client.Canonical(ctx, r.Expr); err != nil {
				return fmt.Errorf("cannot deliver the rules: %s: %w", r.Name(), err)
			}
		}
	}
	if err := k.file.replace(k.text); err != nil {
		return fmt.Errorf("cannot deliver the rules: %w", err)
	}
	before := time.Now()
	if err := k.client.Reload(ctx); err != nil {
		putBack := k.file.putBack()
		if putBack == nil {
			putBack = k.reloadAgain()
		}
		return errors.Join(fmt.Errorf("cannot deliver the rules: %w; what was there before was put back", err), putBack)
	}
	k.applied = before
	if err := k.file.settle(); err != nil {
		return fmt.Errorf("cannot deliver the rules: %w", err)
	}
	k.log.Info("rules delivered", zap.String("file", k.file.path), zap.Int("bytes", len(k.text)))
	return nil
}

// reloadAgain has Prometheus read what was put back, also when the sidecar is being
// stopped. That it is down or has no reload is told already.
func (k *ruleKeeper) reloadAgain() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := k.client.Reload(ctx); err != nil {
		k.log.Debug("reload after putting back", zap.Error(err))
	}
	return nil
}
