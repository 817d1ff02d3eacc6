// Package proxy is the front door of the pod: it takes HTTP on TCP, gives each
// request its ids, answers probes from memory, forwards the rest to the engine
// over a Unix socket, streams the answer back, and writes down how it ended.
//
// Read, in the order that a request meets them: config, tune, proxy, listen, tls, conn,
// deadline, lanes, loop, alarms, rawio, rawcall, parser, guest, reply, push, handover, pipeline,
// head, correlate, address, observe, metrics, malformed, cors, route, health, poll, scrape, door, reread,
// authenticate, token, certificate, limits, upload, admin, level, scan, admit, forward, ask,
// pool, upstream, response, body, outcome, waterfall, servertiming, trace, stream,
// events, errors, drain, socket.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/connwatch"
	"github.com/semantic-pod/semantic/proxy/shared"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/semantic-pod/semantic/telemetry/otlp"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// Proxy is the proxy process.
type Proxy struct {
	cfg     Config
	log     *telemetry.Log
	metrics *telemetry.Metrics
	meters  *meters
	health  *health
	door    *door
	pool    *pool
	otlp    *otlp.Exporter // nil if nothing is sent
	watcher *connwatch.Watcher
	conns   registry
	lanes   []*loop // that serve what is usual; none with TLS
	bells   []*doorbell

	server    *fasthttp.Server
	pipeline  handler // of a request that was read whole
	malformed handler // of one that could not be
	refuse    handler // of one whose body could not be
	exchanges sync.Pool
	slots     slots
	addresses addresses
	origins   origins
	shared    *shared.Store               // nil without --limits-store
	tls       atomic.Pointer[tls.Config]  // nil without --tls-cert-file
	noted     map[string][mostFiles]stamp // by setting: files that are watched, before they were read

	public, scrapes net.Listener // scrapes is nil without --metrics-listen
	farewells       atomic.Int64 // refused connections that are still listened to

	loops, accepting sync.WaitGroup
	stopping         context.CancelFunc
	stopped          sync.Once
	fatal            chan error
	cleanups         []cleanup
}

// cleanup is one thing to close when the proxy stops; last in, first out.
type cleanup struct {
	name string
	run  func() error
}

// New returns a proxy that is not started yet.
func New(cfg Config, log *telemetry.Log) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg:     cfg,
		log:     log,
		metrics: telemetry.NewMetrics("proxy"),
		health:  newHealth(cfg.ReadyOnPressure, cfg.StallAfter),
		pool:    newPool(cfg.EngineSocket, cfg.MaxInFlight),
		slots:   slots{limit: int64(cfg.MaxInFlight)},
		fatal:   make(chan error, 1),
	}
	p.conns.limit(cfg.MaxConnections, cfg.MaxConnectionsPerAddress)
	var err error
	if p.addresses, err = cfg.addresses(); err != nil {
		return nil, err
	}
	if p.origins, err = parseOrigins(cfg.CORSOrigins); err != nil {
		return nil, err
	}
	if err := p.openDoor(); err != nil {
		return nil, err
	}
	p.exchanges.New = func() any { return &exchange{p: p} }
	p.meters = newMeters(p)
	log.Register(p.metrics)
	p.pipeline = stages{
		(*Proxy).correlate, (*Proxy).locate, (*Proxy).observe, (*Proxy).refuseMalformed, (*Proxy).shareAcrossOrigins, (*Proxy).route,
		(*Proxy).answerLocally, // probes end here, whoever asks
		(*Proxy).screen, (*Proxy).authenticate, pass(authenticated), (*Proxy).limit, passSoon(withinLimits), (*Proxy).readBody, passSoon(bodyRead),
		(*Proxy).administer, (*Proxy).takeSlot, (*Proxy).admit, passSoon(admitted), (*Proxy).forward,
	}.handler()
	p.malformed = stages{(*Proxy).correlate, (*Proxy).locate, (*Proxy).observe, (*Proxy).refuseUnread}.handler()
	p.refuse = func(x *exchange) { p.refuseUnread(x, nil) }
	p.server = p.newServer()
	p.otlp, err = otlp.Open("proxy", p.metrics, log.Zap())
	return p, err
}

// Start listens and serves. It does not wait for the engine: a proxy without one
// answers probes and refuses politely.
func (p *Proxy) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.stopping = cancel
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.cleanUp())
	}
	p.log.Announce("proxy started",
		zap.String("listen", p.public.Addr().String()),
		zap.String("engine_socket", p.cfg.EngineSocket))
	return nil
}

func (p *Proxy) start(ctx context.Context) error {
	var err error
	if p.watcher, err = connwatch.New(); err != nil {
		return err
	}
	p.onStop("export of spans and metrics", p.otlp.Close)
	p.onStop("connection watcher", p.watcher.Close)
	p.onStop("engine connections", p.pool.close)
	p.loops.Go(func() { p.pollLoop(ctx) })
	p.loops.Go(func() { p.door.keys.Watch(ctx) })
	if p.shared != nil {
		p.shared.Check()
	}
	p.watchFiles(ctx, adminKeySetting, p.readAdminKey)
	p.watchFiles(ctx, certificateSetting, p.readTLS)
	if p.door.issuer != nil {
		p.loops.Go(func() { p.door.issuer.watch(ctx) })
	}
	p.onStop("engine poll", func() error { p.stopping(); p.loops.Wait(); return nil })
	if err := p.serveSocket(); err != nil {
		return err
	}
	return p.listen()
}

// onStop names a thing to close when the proxy stops.
func (p *Proxy) onStop(name string, run func() error) {
	p.cleanups = append(p.cleanups, cleanup{name, run})
}

func (p *Proxy) cleanUp() error {
	var errs []error
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		if err := p.cleanups[i].run(); err != nil {
			errs = append(errs, fmt.Errorf("cannot close the %s: %w", p.cleanups[i].name, err))
		}
	}
	p.cleanups = nil
	return errors.Join(errs...)
}

// Addr is where the proxy listens, once started.
func (p *Proxy) Addr() net.Addr { return p.public.Addr() }

// Metrics returns the proxy's families.
func (p *Proxy) Metrics() *telemetry.Metrics { return p.metrics }

// Err reports a failure after Start that the proxy cannot go on from.
func (p *Proxy) Err() <-chan error { return p.fatal }

// newServer sets up fasthttp, which parses requests and writes answers on the
// connections that our own accept loop hands to it.
func (p *Proxy) newServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:      p.serve,
		ErrorHandler: p.serveUnread,
		ConnState:    connState,
		HeaderReceived: func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
			if h.ContentLength() == 0 || h.ContentLength() < -1 {
				return fasthttp.RequestConfig{}
			}
			return fasthttp.RequestConfig{ReadTimeout: p.cfg.ReadTimeout} // from the header's end on
		},
		LazyRequestTime:               true, // the connection keeps the times and the other deadlines
		StreamRequestBody:             true, // the stage readBody reads it, after all that can refuse without it
		MaxRequestBodySize:            1,    // what fasthttp reads of it before
		ReadBufferSize:                maxHeader,
		WriteBufferSize:               writeBuffer,
		Concurrency:                   p.cfg.MaxConnections,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true, // names go out as they are written here
		NoDefaultServerHeader:         true,
		SecureErrorLogMessage:         true,
		Logger:                        silence{},
	}
}

// silence is fasthttp's logger: what it would say is in our access log.
type silence struct{}

func (silence) Printf(string, ...any) {}

const (
	maxHeader   = 8 << 10 // request line and headers of a request
	writeBuffer = 4 << 10 // of each connection
)

// slots counts the requests that are with the engine.
type slots struct {
	limit int64
	taken atomic.Int64
}

func (s *slots) take() bool {
	if s.taken.Add(1) <= s.limit {
		return true
	}
	s.taken.Add(-1)
	return false
}

func (s *slots) free() { s.taken.Add(-1) }

// tick returns after d, or at once with false when ctx has ended.
func tick(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
