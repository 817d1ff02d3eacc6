package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/cmd/semantic/top"
)

// topCmd shows a pod live.
type topCmd struct {
	URL      string        `name:"url" default:"http://127.0.0.1:8000" placeholder:"URL" env:"-" help:"Address of the proxy, or that of its --metrics-listen."`
	Sidecar  string        `name:"sidecar-url" default:"http://127.0.0.1:8002" placeholder:"URL" env:"-" help:"Address of the sidecar, which knows the alerts."`
	Key      string        `name:"key" env:"SEMANTIC_TOP_KEY" placeholder:"KEY" help:"API key, to see the agents of its tenant; better given as SEMANTIC_TOP_KEY, since other users of the host see the command line."`
	Interval time.Duration `name:"interval" default:"1s" env:"-" help:"Time between two looks."`
	Window   time.Duration `name:"window" default:"10s" env:"-" help:"Time that rates and percentiles look back on."`
	Once     bool          `name:"once" env:"-" help:"Write the screen once, as text, and end."`
}

func (c *topCmd) Run(w *world) error {
	cfg := top.Config{URL: c.URL, Sidecar: c.Sidecar, Key: c.Key, Interval: c.Interval, Window: c.Window}
	if err := cfg.Validate(); err != nil {
		return usage(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if c.Once {
		return top.Once(ctx, cfg, w.stdout)
	}
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		return usage(errors.New("top needs a terminal to show the pod on; --once writes the screen once, as text"))
	}
	return top.Run(ctx, cfg, os.Stdin, os.Stdout)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
