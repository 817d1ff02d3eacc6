package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// probeCmd is the health check for exec probes: the image holds no shell and no
// curl, and the engine listens on no TCP port.
type probeCmd struct {
	Socket  string        `required:"" placeholder:"PATH" env:"-" help:"Unix socket of the process."`
	Timeout time.Duration `default:"1s" env:"-" help:"Time for the whole probe."`
	Path    string        `arg:"" help:"Path to ask for, such as /internal/state."`
}

func (c *probeCmd) Run(w *world) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod"+c.Path, nil)
	if err != nil {
		return usage(fmt.Errorf("%q is no path to ask for: %w", c.Path, err))
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w", c.Socket, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w.stdout, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", c.Socket, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", c.Socket, resp.Status)
	}
	return nil
}
