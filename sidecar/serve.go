package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
)

// Bounds on what a client can hold up.
const (
	requestTimeout = 5 * time.Second
	answerTimeout  = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeader      = 16 << 10
	lastAnswers    = 500 * time.Millisecond // what is being answered at the end has so long
)

// state is the body of GET /internal/state.
type state struct {
	Boot     string        `json:"boot"`
	Phase    api.Phase     `json:"phase"`
	Manifest ManifestState `json:"manifest"`
	report
}

// publicRoutes are what the TCP address serves.
func (s *Sidecar) publicRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", s.health.live)
	mux.HandleFunc("GET /health/startup", s.health.startup)
	mux.HandleFunc("GET /health/ready", s.health.ready)
	mux.HandleFunc("GET /health", s.health.whole)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	mux.HandleFunc("GET /alerts", s.alerts.serve)
	mux.HandleFunc("GET /runbooks/{$}", s.runbook.index)
	mux.HandleFunc("GET /runbooks/{alert}", s.runbook.page)
	s.origin.serve(mux)
	s.mountConsole(mux)
	return mux
}

// podRoutes are what the socket serves: the same, and what only the pod may ask.
func (s *Sidecar) podRoutes() *http.ServeMux {
	mux := s.publicRoutes()
	mux.HandleFunc("GET "+api.PathState, s.serveState)
	mux.HandleFunc("GET "+api.PathMetrics, s.serveMetrics)
	mux.HandleFunc("GET "+api.PathBuild, s.serveBuild)
	mux.HandleFunc("GET "+api.PathSettings, s.serveSettings)
	mux.HandleFunc("GET "+api.PathRules, s.serveRules)
	mux.HandleFunc("PUT "+api.PathLogLevel, s.log.ServeLevel)
	return mux
}

func (s *Sidecar) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", telemetry.ContentType)
	_, _ = s.metrics.WriteTo(w) // a client that left needs no answer
}

func (s *Sidecar) serveState(w http.ResponseWriter, _ *http.Request) {
	phase := api.PhaseReady
	if s.health.untried() != nil {
		phase = api.PhaseLoading
	}
	answer(w, http.StatusOK, state{Boot: s.log.Boot(), Phase: phase, Manifest: s.ledger.state(), report: s.health.report(time.Now())})
}

func (s *Sidecar) serveBuild(w http.ResponseWriter, _ *http.Request) {
	build := telemetry.ReadBuild()
	sum, err := telemetry.ExecutableSHA256()
	if err != nil {
		s.log.Zap().Warn("build is told without the executable's hash", zap.Error(err))
	}
	build.ExecutableSHA256 = sum
	answer(w, http.StatusOK, build)
}

func (s *Sidecar) serveSettings(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = io.WriteString(w, s.cfg.Settings) // a client that left needs no answer
}

// serveRules tells the alert rules as this sidecar makes them of its settings now, whether
// or not it has to deliver them.
func (s *Sidecar) serveRules(w http.ResponseWriter, _ *http.Request) {
	groups, err := s.cfg.Rules.Groups(s.address())
	var text []byte
	if err == nil {
		text, err = alerts.Render(groups, alerts.Prometheus)
	}
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(text) // a client that left needs no answer
}

// serve runs a server on the listener until Stop.
func (s *Sidecar) serve(name string, listener net.Listener, routes http.Handler) {
	server := &http.Server{
		Handler:           routes,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // it tells of clients' mistakes only
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.errs <- fmt.Errorf("the sidecar's %s server ended: %w", name, err)
		}
	}()
	s.onStop(name+" server", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, lastAnswers)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close() // a page that still reads the logs is cut: who stops the pod has seconds for us
		}
		<-ended
		return err
	})
}
