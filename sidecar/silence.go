package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/sidecar/alertmanager"
	"github.com/semantic-pod/semantic/telemetry"
)

const (
	silenceAuthor = "semantic-sidecar"
	proxyPoll     = 500 * time.Millisecond
	proxyTimeout  = 2 * time.Second
	maxSilences   = 10 // times --silence-for after which a drain is no longer a planned one
)

// silencer keeps this pod's alerts quiet while it drains on purpose: from when the
// proxy first says that it shuts down until it is back. The silence holds a short time
// and is extended while the drain lasts, so that after a crash it ends by itself.
type silencer struct {
	cfg       RulesConfig
	instances []string
	client    *alertmanager.Client
	proxy     *http.Client
	duty      *duty
	log       *zap.Logger

	draining time.Time // since when; zero: not
	extended time.Time // when the silence was last set or extended
	clear    bool      // no silence of ours is left from before

	active *telemetry.Gauge
}

// newSilencer returns nil if there is no Alertmanager.
func newSilencer(cfg RulesConfig, proxySocket string, instances []string, log *zap.Logger, m *telemetry.Metrics) *silencer {
	active := m.Gauge("semantic_silence_active", "", "1 while this pod's alerts are silenced because it drains.")
	if cfg.Alertmanager == "" {
		return nil
	}
	return &silencer{
		cfg: cfg, instances: instances, client: alertmanager.New(cfg.Alertmanager), log: log, active: active,
		duty: newDuty("silence", patience(proxyPoll), log, m),
		proxy: &http.Client{Timeout: proxyTimeout, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", proxySocket)
		}}},
	}
}

// loop watches the proxy until ctx ends. What silence there is then stays: the drain
// of the whole pod goes on without us, and the silence ends by itself soon.
func (s *silencer) loop(ctx context.Context) {
	defer s.client.Close()
	defer s.proxy.CloseIdleConnections()
	for {
		err := s.look(ctx, time.Now())
		if ctx.Err() != nil {
			return
		}
		s.duty.done(err)
		if !s.duty.rest(ctx, proxyPoll) {
			return
		}
	}
}

// look asks the proxy once. One that does not answer is no reason for a silence, and
// none to end one: it has left in the middle of its drain.
func (s *silencer) look(ctx context.Context, now time.Time) error {
	state, err := s.proxyState(ctx)
	switch {
	case err == nil && state.Reason == "shutting_down":
		if s.draining.IsZero() {
			s.draining = now
		}
	case err == nil:
		s.draining = time.Time{}
		return s.lift(ctx)
	}
	if s.draining.IsZero() || now.Sub(s.draining) > maxSilences*s.cfg.SilenceFor {
		s.active.Set(0)
		return nil
	}
	if now.Sub(s.extended) < s.cfg.SilenceFor/3 {
		return nil
	}
	return s.extend(ctx, now)
}

func (s *silencer) proxyState(ctx context.Context) (state api.ProxyState, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod"+api.PathState, nil)
	if err != nil {
		return state, err
	}
	resp, err := s.proxy.Do(req)
	if err != nil {
		return state, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return state, fmt.Errorf("the proxy answered %s", resp.Status)
	}
	return state, json.NewDecoder(resp.Body).Decode(&state)
}

// matchers name this pod's targets, and never the alert that proves the way of all.
func (s *silencer) matchers() []alertmanager.Matcher {
	quoted := make([]string, len(s.instances))
	for i, in := range s.instances {
		quoted[i] = regexp.QuoteMeta(in)
	}
	return []alertmanager.Matcher{
		{Name: "alertname", Value: alerts.Watchdog},
		{Name: "instance", Value: strings.Join(quoted, "|"), IsRegex: true, IsEqual: true},
	}
}

// extend sets the silence, or lets the one that is there hold longer.
func (s *silencer) extend(ctx context.Context, now time.Time) error {
	s.clear = false
	there, err := s.client.Active(ctx, silenceAuthor, s.matchers())
	if err != nil {
		return err
	}
	silence := alertmanager.Silence{
		Matchers: s.matchers(), StartsAt: now, CreatedBy: silenceAuthor,
		Comment: "planned drain; ends by itself unless it is extended",
	}
	if len(there) > 0 {
		silence = there[0]
	}
	silence.EndsAt = now.Add(s.cfg.SilenceFor)
	id, err := s.client.Set(ctx, silence)
	if err != nil {
		return err
	}
	if len(there) == 0 {
		s.log.Info("silenced while draining", zap.String("silence", id), zap.Strings("instances", s.instances))
	}
	s.extended = now
	s.active.Set(1)
	return nil
}

// lift ends what silence there is of this pod, also one that was set before a restart.
func (s *silencer) lift(ctx context.Context) error {
	if s.clear {
		return nil
	}
	there, err := s.client.Active(ctx, silenceAuthor, s.matchers())
	if err != nil {
		return err
	}
	for _, silence := range there {
		if err := s.client.Lift(ctx, silence.ID); err != nil {
			return err
		}
		s.log.Info("silence lifted", zap.String("silence", silence.ID))
	}
	s.clear, s.extended = true, time.Time{}
	s.active.Set(0)
	return nil
}
