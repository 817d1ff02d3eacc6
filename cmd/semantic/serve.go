package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/supervise"
	"github.com/semantic-pod/semantic/telemetry"
)

// serveCmd takes the settings of all three processes.
type serveCmd struct {
	Shared       shared        `embed:""`
	StartTimeout time.Duration `name:"start-timeout" default:"30s" help:"Time for a process to open its sockets; one that takes longer is killed and started again."`
	Proxy        proxyFlags    `embed:"" group:"Proxy"`
	Engine       engineFlags   `embed:"" group:"Engine"`
	Sidecar      sidecarFlags  `embed:"" group:"Sidecar"`
}

func (c *serveCmd) Run(w *world) error {
	if err := c.complete(); err != nil {
		return err
	}
	if c.Sidecar.Ticket == "" {
		c.Sidecar.Ticket = rand.Text()
	}
	if done, err := c.Shared.printConfig(w); done {
		return err
	}
	if err := c.Shared.makeFolders(); err != nil {
		return err
	}
	log, err := c.Shared.openLog("serve", w)
	if err != nil {
		return err
	}
	err = c.supervise(w, log)
	log.Announce("pod stopped", zap.Error(err))
	return errors.Join(err, log.Close())
}

// complete checks everything that the children would check, so that a mistake is
// told once, before anything starts.
func (c *serveCmd) complete() error {
	if err := c.Shared.complete(); err != nil {
		return err
	}
	if err := completeProxy(c.Proxy.config(), &c.Shared, int64(c.Engine.DefaultMaxTokens)); err != nil {
		return err
	}
	completeSidecar(c.Sidecar.config(), &c.Shared, "http://"+net.JoinHostPort(c.Proxy.Host, strconv.Itoa(c.Proxy.Port)))
	if err := c.Shared.checkBudgets(c.Proxy.DrainDelay, c.Proxy.DrainTimeout, c.Engine.PersistTimeout); err != nil {
		return err
	}
	if c.StartTimeout <= 0 {
		return usage(fmt.Errorf("--start-timeout=%v must be above 0", c.StartTimeout))
	}
	if err := completeEngine(c.Engine.config(), &c.Shared); err != nil {
		return err
	}
	if err := errors.Join(c.Proxy.config().Validate(), c.Engine.config().Validate(), c.Sidecar.config().Validate()); err != nil {
		return usage(err)
	}
	return usage(c.Proxy.config().CheckKeys())
}

func (c *serveCmd) supervise(w *world, log *telemetry.Log) error {
	specs, err := c.children(w)
	if err != nil {
		return err
	}
	log.Announce("pod starting", zap.Int("pid", os.Getpid()), zap.String("model", c.Engine.Model),
		zap.String("data_dir", c.Shared.DataDir), zap.String("log_dir", c.Shared.LogDir))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := stopSignals()
	abort, ended := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { watchSignals(signals, log, cancel, abort, ended) })
	wg.Go(func() { c.greet(ctx, w, time.Now()) })
	err = supervise.New(log.Zap(), specs).Run(ctx, abort)
	cancel()
	close(ended)
	wg.Wait()
	var exit *supervise.ExitError
	if errors.As(err, &exit) && exit.Status == supervise.StatusUsage {
		return usage(err)
	}
	return err
}

// watchSignals turns the first signal into an orderly stop and the second into
// the end of waiting for it.
func watchSignals(signals <-chan os.Signal, log *telemetry.Log, stop context.CancelFunc, abort, ended chan struct{}) {
	var ordered time.Time
	for {
		select {
		case sig := <-signals:
			log.Announce("signal", zap.String("signal", sig.String()))
			stop()
			switch {
			case ordered.IsZero():
				ordered = time.Now()
			case time.Since(ordered) >= sameOrder:
				close(abort)
				return
			}
		case <-ended:
			return
		}
	}
}

// children lists the processes, which stop in the reverse order: the proxy drains, the
// engine persists, the sidecar is last.
func (c *serveCmd) children(w *world) ([]supervise.Spec, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find our own executable: %w", err)
	}
	settings := w.parsed.Settings()
	env := config.Environ(os.Environ(), settings)
	drain := c.Proxy.DrainDelay + c.Proxy.DrainTimeout
	// What the budgets leave of the whole goes to the three processes' own ends.
	spare := max((c.Shared.StopTimeout-drain-c.Engine.PersistTimeout)/3, 500*time.Millisecond)
	child := func(name string, budget time.Duration, extra ...string) supervise.Spec {
		return supervise.Spec{
			Name: name, Args: []string{exe, name}, Env: append(env[:len(env):len(env)], extra...),
			StartTimeout: c.StartTimeout, StopTimeout: budget + spare,
		}
	}
	engine := withoutKeys(child("engine", c.Engine.PersistTimeout, "SEMANTIC_MODEL="+c.Engine.Model))
	engine.Slow = true // it loads the model
	return []supervise.Spec{
		withoutKeys(c.following(child("sidecar", 0, "SEMANTIC_PROXY_URL="+c.Sidecar.ProxyURL, "SEMANTIC_CONSOLE_TICKET="+c.Sidecar.Ticket), settings)),
		engine,
		child("proxy", drain),
	}, nil
}

// following leaves what the sidecar reads again to the file in which it stands.
func (c *serveCmd) following(s supervise.Spec, settings []config.Setting) supervise.Spec {
	if c.Shared.Config == "" {
		return s
	}
	s.Env = slices.DeleteFunc(slices.Clone(s.Env), func(kv string) bool {
		return slices.ContainsFunc(settings, func(set config.Setting) bool {
			return set.InFile && slices.Contains(sidecar.Followed, set.Name) && slices.Equal(config.Environ(nil, []config.Setting{set}), []string{kv})
		})
	})
	s.Env = append(s.Env, "SEMANTIC_ALERT_CONFIG="+c.Shared.Config)
	return s
}

// withoutKeys keeps the API keys from a process that has no use for them.
func withoutKeys(s supervise.Spec) supervise.Spec {
	s.Env = slices.DeleteFunc(slices.Clone(s.Env), func(kv string) bool {
		return strings.HasPrefix(kv, keys.Variable+"=") || strings.HasPrefix(kv, "SEMANTIC_ADMIN_KEY=")
	})
	return s
}

// greet tells a person where the pod is as soon as it answers, and of the console as
// soon as that does, so that each printed link opens.
func (c *serveCmd) greet(ctx context.Context, w *world, began time.Time) {
	host := net.JoinHostPort(c.Proxy.Host, strconv.Itoa(c.Proxy.Port))
	scheme := "http"
	if c.Proxy.TLSCertFile != "" {
		scheme = "https"
	}
	if !await(ctx, func() bool { return proxyIsReady(ctx, c.Shared.socket("proxy")) }) {
		return
	}
	question := "Name the capital of Italy."
	if c.Engine.Model == builtin.Name {
		question = "What is the KV pool?" // the little that it knows
		fmt.Fprintf(w.stdout, "\nNo model was given or found: the built-in %s answers, which knows this pod alone. --model PATH serves another.\n", builtin.Name)
	}
	fmt.Fprintf(w.stdout, `
semantic is ready at %[3]s://%[1]s after %[2]d ms. Try:

  curl %[3]s://%[1]s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model": "default", "temperature": 0, "messages": [{"role": "user", "content": "%[4]s"}]}'

Its own health and metrics: %[3]s://%[1]s/health and %[3]s://%[1]s/metrics. Ctrl-C stops it.
`, host, time.Since(began).Milliseconds(), scheme, question)
	if !await(ctx, func() bool { return accepts(ctx, c.Sidecar.Listen) }) {
		return
	}
	fmt.Fprintf(w.stdout, `The console, by this link once, or with an admin key at any time:

  http://%s/console/enter?ticket=%s
`, c.Sidecar.Listen, c.Sidecar.Ticket)
}

// await asks again and again until something is so, or returns false when ctx ends.
func await(ctx context.Context, isSo func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if isSo() {
			return true
		}
	}
}

// accepts says whether somebody takes connections at a TCP address.
func accepts(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// proxyIsReady asks the proxy on its own socket, where it speaks neither TLS nor asks
// for keys.
func proxyIsReady(ctx context.Context, socket string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://proxy"+api.PathState, nil)
	if err != nil {
		return false // the address is a constant
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var state api.ProxyState
	return json.NewDecoder(resp.Body).Decode(&state) == nil && state.Ready
}
