package main

import (
	"errors"
	"path/filepath"

	"github.com/semantic-pod/semantic/engine"
	"github.com/semantic-pod/semantic/supervise"
	"github.com/semantic-pod/semantic/telemetry"
)

type engineCmd struct {
	Shared shared      `embed:""`
	Engine engineFlags `embed:"" group:"Engine"`
}

// engineFlags is the engine's configuration as kong sees it: without its Validate,
// which kong would call before the fields that are no flags are filled in.
type engineFlags engine.Config

func (f *engineFlags) config() *engine.Config { return (*engine.Config)(f) }

func (c *engineCmd) Run(w *world) error {
	if err := c.Shared.complete(); err != nil {
		return err
	}
	if err := completeEngine(c.Engine.config(), &c.Shared); err != nil {
		return err
	}
	if err := c.Shared.checkBudgets(0, 0, c.Engine.PersistTimeout); err != nil {
		return err
	}
	if err := c.Engine.config().Validate(); err != nil {
		return usage(err)
	}
	if done, err := c.Shared.printConfig(w); done {
		return err
	}
	told, err := toldSettings(w)
	if err != nil {
		return err
	}
	c.Engine.Settings = told
	err = runProcess("engine", &c.Shared, w, c.Shared.StopTimeout, func(log *telemetry.Log) (process, error) {
		return engine.New(*c.Engine.config(), log)
	})
	if errors.Is(err, engine.ErrModel) {
		return usage(err) // by which a supervisor knows that starting again is in vain
	}
	return err
}

func completeEngine(cfg *engine.Config, s *shared) error {
	cfg.Socket, cfg.Restarts = s.socket("engine"), supervise.Restarts()
	if cfg.Backend == engine.BackendUpstream {
		return nil
	}
	if cfg.CacheDir == "" {
		cfg.CacheDir = filepath.Join(s.DataDir, "agents")
	}
	model, err := s.findModel(cfg.Model)
	cfg.Model = model
	return err
}
