package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/supervise"
	"github.com/semantic-pod/semantic/telemetry"
)

type sidecarCmd struct {
	Shared  shared       `embed:""`
	Sidecar sidecarFlags `embed:"" group:"Sidecar"`
}

// sidecarFlags is sidecar.Config without its Validate, as engineFlags is the engine's.
type sidecarFlags sidecar.Config

func (f *sidecarFlags) config() *sidecar.Config { return (*sidecar.Config)(f) }

func (c *sidecarCmd) Run(w *world) error {
	if err := c.Shared.complete(); err != nil {
		return err
	}
	completeSidecar(c.Sidecar.config(), &c.Shared, defaultProxyURL)
	c.follow(w.parsed.Settings())
	if err := c.Sidecar.config().Validate(); err != nil {
		return usage(err)
	}
	if done, err := c.Shared.printConfig(w); done {
		return err
	}
	told, err := toldSettings(w)
	if err != nil {
		return err
	}
	c.Sidecar.Settings = told
	err = runProcess("sidecar", &c.Shared, w, c.Shared.StopTimeout, func(log *telemetry.Log) (process, error) {
		return sidecar.New(*c.Sidecar.config(), log)
	})
	return errors.Join(err, c.conclude(w))
}

// conclude does what is left to do for the logs when our own is closed.
func (c *sidecarCmd) conclude(w *world) error {
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Level: c.Shared.LogLevel, Format: c.Shared.LogFormat, Stderr: w.stderr})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Shared.StopTimeout)
	defer cancel()
	return errors.Join(sidecar.Conclude(ctx, *c.Sidecar.config(), log), log.Close())
}

// defaultProxyURL is where a proxy is that nobody put elsewhere.
const defaultProxyURL = "http://127.0.0.1:8000"

func completeSidecar(cfg *sidecar.Config, s *shared, proxyURL string) {
	cfg.LogDir, cfg.Restarts = s.LogDir, supervise.Restarts()
	cfg.Socket, cfg.ProxySocket, cfg.EngineSocket = s.socket("sidecar"), s.socket("proxy"), s.socket("engine")
	if cfg.ProxyURL == "" {
		cfg.ProxyURL = proxyURL
	}
	if cfg.ReleaseDir == "" {
		if exe, err := os.Executable(); err == nil {
			cfg.ReleaseDir = filepath.Dir(exe)
		}
	}
}

// follow says where the settings of the alert rules are read again, and which of them
// are given elsewhere.
func (c *sidecarCmd) follow(settings []config.Setting) {
	rules := &c.Sidecar.config().Rules
	if rules.Follow == "" {
		rules.Follow = c.Shared.Config
	}
	for _, s := range settings {
		if slices.Contains(sidecar.Followed, s.Name) && !s.Default && !s.InFile {
			rules.Fixed = append(rules.Fixed, s.Name)
		}
	}
}
