package main

import (
	"fmt"

	"github.com/semantic-pod/semantic/proxy"
	"github.com/semantic-pod/semantic/supervise"
	"github.com/semantic-pod/semantic/telemetry"
)

type proxyCmd struct {
	Shared shared     `embed:""`
	Proxy  proxyFlags `embed:"" group:"Proxy"`

	DefaultMaxTokens int64 `name:"default-max-tokens" group:"Proxy" default:"1024" placeholder:"TOKENS" help:"The engine's: what a request that sets no bound takes out of its key's tokens a minute until it ends."`
}

// proxyFlags is proxy.Config without its Validate, as engineFlags is the engine's.
type proxyFlags proxy.Config

func (f *proxyFlags) config() *proxy.Config { return (*proxy.Config)(f) }

func (c *proxyCmd) Run(w *world) error {
	if err := c.complete(); err != nil {
		return err
	}
	if done, err := c.Shared.printConfig(w); done {
		return err
	}
	told, err := toldSettings(w)
	if err != nil {
		return err
	}
	c.Proxy.Settings = told
	w.collect() // and then as Tune says
	c.Proxy.config().Tune()
	return runProcess("proxy", &c.Shared, w, c.Shared.StopTimeout, func(log *telemetry.Log) (process, error) {
		return proxy.New(*c.Proxy.config(), log)
	})
}

func (c *proxyCmd) complete() error {
	if err := c.Shared.complete(); err != nil {
		return err
	}
	if c.DefaultMaxTokens < 1 {
		return usage(fmt.Errorf("--default-max-tokens=%d must be at least 1", c.DefaultMaxTokens))
	}
	if err := completeProxy(c.Proxy.config(), &c.Shared, c.DefaultMaxTokens); err != nil {
		return err
	}
	if err := c.Shared.checkBudgets(c.Proxy.DrainDelay, c.Proxy.DrainTimeout, 0); err != nil {
		return err
	}
	return usage(c.Proxy.config().Validate())
}

// completeProxy fills in what is no flag of the proxy's own; the engine's bound of
// an answer is what the proxy has to reserve for one.
func completeProxy(cfg *proxy.Config, s *shared, defaultMaxTokens int64) error {
	cfg.EngineSocket = s.socket("engine")
	cfg.Socket, cfg.Restarts = s.socket("proxy"), supervise.Restarts()
	cfg.DefaultMaxTokens = defaultMaxTokens
	usual, err := (&keyFile{DataDir: s.DataDir}).path()
	if err != nil {
		return err
	}
	cfg.KeyFile, err = (&keyFile{DataDir: s.DataDir, KeyFile: cfg.KeyFile}).path()
	// The usual one need not be there, even if it is named: --print-config names it.
	cfg.KeyFileOptional = cfg.KeyFile == usual
	return err
}
