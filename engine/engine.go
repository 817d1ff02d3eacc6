// Package engine is the process that answers: it listens on a Unix socket, speaks
// the vendors' APIs, and runs the model for all requests in one batch.
//
// Read, in the order that a request meets them: config, engine, tally, load,
// server, exchange, generate, prompt, native, queue, scheduler, step, sequence,
// generation, answer, outcome; the other backend: remote, turnstile; what is kept
// between requests: prefix, agents, warm, coldtier, agentroutes; what an admin orders: admin,
// swap; beside the way: backend, fingerprint, inspect, mail, memory, metrics, vllm,
// trace, internal.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/semantic-pod/semantic/telemetry/otlp"
	"github.com/semantic-pod/semantic/unixsock"
)

const (
	readHeaderTimeout = 10 * time.Second
	maxHeaderBytes    = 64 << 10
)

// Engine is one engine process.
type Engine struct {
	cfg     Config
	log     *telemetry.Log
	metrics *metrics
	otlp    *otlp.Exporter // nil if nothing is sent
	name    string         // under which the model is served

	listener    *unixsock.Listener
	http        *http.Server
	routes      map[string]route
	connections tally
	exchanges   tally
	background  tally // goroutines of the engine's own
	fatal       chan error

	open      func() (backend, error) // makes the backend; it may take its time
	mu        sync.Mutex
	phase     api.Phase
	backend   backend                 // nil until the model is loaded, and while it is offloaded; set by serveWith alone
	inForce   atomic.Pointer[backend] // the same, for who may not wait
	modelPath string                  // of the model that is served, or was last
	loadErr   error

	orders   sync.Mutex    // held while an admin's order on the model is carried out
	stopping chan struct{} // closed when the engine stops
}

// New returns an engine that has not started. Its log stays the caller's.
func New(cfg Config, log *telemetry.Log) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: log, phase: api.PhaseLoading, fatal: make(chan error, 1), name: servedName(cfg), modelPath: cfg.Model, stopping: make(chan struct{})}
	e.metrics = newMetrics(gauges{model: e.name, cacheDir: cfg.CacheDir, load: e.load, card: e.card})
	log.Register(e.metrics.all)
	e.routes = e.table()
	e.open = e.openModel
	var err error
	e.otlp, err = otlp.Open("engine", e.metrics.all, log.Zap())
	return e, err
}

// Start opens the socket and begins to load the model. It returns as soon as the
// socket answers; what goes wrong later comes through Err.
func (e *Engine) Start() error {
	l, err := unixsock.Listen(e.cfg.Socket)
	if err != nil {
		return err
	}
	e.listener = l
	e.http = &http.Server{
		Handler:           e,
		ReadHeaderTimeout: readHeaderTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         e.countConnection,
		ErrorLog:          zap.NewStdLog(e.log.Zap()),
		// No idle timeout: a connection closed here while the proxy is about to use it
		// would cost a request, since no POST is sent twice.
	}
	e.background.run(func() {
		if err := e.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.fail(fmt.Errorf("cannot serve the socket %s: %w", e.cfg.Socket, err))
		}
	})
	e.background.run(e.loadModel)
	e.log.Announce("engine started", zap.String("socket", e.cfg.Socket), zap.String("model", e.name))
	return nil
}

// Err tells of an error after which the engine cannot go on. The caller stops it.
func (e *Engine) Err() <-chan error { return e.fatal }

func (e *Engine) fail(err error) {
	select {
	case e.fatal <- err:
	default: // the first one is enough
	}
}

// Stop goes on serving until the last connection is closed, since the proxy drains
// first and its requests still come. What is left when only --persist-timeout remains
// of ctx is ended as drained; then the agents are written to disk.
func (e *Engine) Stop(ctx context.Context) error {
	ctx, cancel := e.budget(ctx)
	defer cancel()
	end, _ := ctx.Deadline()
	left := time.Until(end)
	persist := min(e.cfg.PersistTimeout, left/2)
	reserve := min(max((left-persist)/10, 100*time.Millisecond), time.Second) // for the ends of what still runs
	drained, cancelDrained := context.WithDeadline(ctx, end.Add(-persist))
	defer cancelDrained()
	e.beginStopping()
	e.log.Announce("engine stopping", zap.Int("connections", e.connections.count()))
	if e.hasModel() {
		patience, cancelPatience := context.WithDeadline(ctx, end.Add(-persist-reserve))
		_ = e.connections.wait(patience) // whoever is left is told so
		cancelPatience()
	}

	var errs []error
	if b := e.current(); b != nil {
		errs = append(errs, b.drain(drained))
	}
	if err := e.http.Shutdown(drained); err != nil {
		errs = append(errs, fmt.Errorf("connections were cut off: %w", err), e.http.Close())
	}
	errs = append(errs, e.release(drained, ctx), e.otlp.Close())
	e.log.Announce("engine stopped")
	return errors.Join(errs...)
}

// budget gives ctx a deadline if it has none.
func (e *Engine) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, 2*e.cfg.PersistTimeout)
}

// release joins what still runs, persists what is worth it and then frees the memory.
// A request, a step or a write that does not end keeps it.
func (e *Engine) release(drained, ctx context.Context) error {
	if err := e.background.wait(drained); err != nil {
		return fmt.Errorf("the model is still being loaded: %w", err)
	}
	ended := e.exchanges.wait(drained)
	b := e.current()
	if b == nil {
		return nil
	}
	if err := b.drain(drained); err != nil {
		return err
	}
	persisting, cancel := context.WithTimeout(ctx, e.cfg.PersistTimeout)
	defer cancel()
	if err := b.persist(persisting); err != nil {
		return err
	}
	if ended != nil {
		return fmt.Errorf("requests have not ended: %w", ended)
	}
	return b.close()
}

func (e *Engine) beginStopping() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != api.PhaseStopping {
		e.phase = api.PhaseStopping
		close(e.stopping)
	}
}

// current returns the backend, which is nil until the model is loaded.
func (e *Engine) current() backend {
	if b := e.inForce.Load(); b != nil {
		return *b
	}
	return nil
}

// serveWith makes b the backend, nil for none. The caller holds mu.
func (e *Engine) serveWith(b backend) {
	e.backend = b
	e.inForce.Store(&b)
}

// hasModel is false when the model could not be loaded: then no connection has
// anything to wait for.
func (e *Engine) hasModel() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.loadErr == nil
}

func (e *Engine) load() load {
	if b := e.current(); b != nil {
		return b.load()
	}
	return load{}
}

// card describes the model, with nothing in it until there is one.
func (e *Engine) card() card {
	if b := e.current(); b != nil {
		return b.card()
	}
	return card{}
}

// Metrics returns the engine's families.
func (e *Engine) Metrics() *telemetry.Metrics { return e.metrics.all }

func (e *Engine) countConnection(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		e.connections.add(1)
	case http.StateClosed, http.StateHijacked:
		e.connections.add(-1)
	}
}
