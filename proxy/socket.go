package proxy

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/semantic-pod/semantic/unixsock"
	"go.uber.org/zap"
)

// socketTimeout bounds each request on the proxy's own socket.
const socketTimeout = 5 * time.Second

// serveSocket answers the other processes of the pod on proxy.sock. They are few
// and patient, so the standard library serves them.
func (p *Proxy) serveSocket() error {
	if p.cfg.Socket == "" {
		return nil
	}
	ln, err := unixsock.Listen(p.cfg.Socket)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathState, p.serveState)
	mux.HandleFunc("GET "+api.PathMetrics, p.serveOwnMetrics)
	mux.HandleFunc("GET "+api.PathBuild, p.serveBuild)
	mux.HandleFunc("GET "+api.PathSettings, p.serveSettings)
	mux.HandleFunc("PUT "+api.PathLogLevel, p.log.ServeLevel)
	mux.HandleFunc("GET "+api.PathKeys, p.serveKeys)
	mux.HandleFunc("POST "+api.PathAdmin, p.serveIsAdmin)
	srv := &http.Server{Handler: mux, ReadTimeout: socketTimeout, WriteTimeout: socketTimeout, IdleTimeout: time.Minute}
	p.loops.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			p.fail(err)
		}
	})
	p.onStop("socket", srv.Close)
	return nil
}

func (p *Proxy) serveState(w http.ResponseWriter, _ *http.Request) {
	v := p.health.current()
	p.writeJSON(w, api.ProxyState{
		Boot:        p.log.Boot(),
		Ready:       v.reason == "",
		Reason:      string(v.reason),
		InFlight:    p.meters.inFlight.Load(),
		Connections: p.conns.count(),
		EngineUp:    v.up,
		EngineBoot:  p.health.engine().Boot,
		Restarts:    p.cfg.Restarts,
	})
}

// serveOwnMetrics has the proxy's families alone: who asks here asks the engine too.
func (p *Proxy) serveOwnMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", telemetry.ContentType)
	_, _ = p.metrics.WriteTo(w) // fails only with the connection
}

func (p *Proxy) serveBuild(w http.ResponseWriter, _ *http.Request) {
	b := telemetry.ReadBuild()
	sum, err := telemetry.ExecutableSHA256()
	if err != nil {
		p.log.Zap().Warn("build is told without the executable's hash", zap.Error(err))
	}
	b.ExecutableSHA256 = sum
	p.writeJSON(w, b)
}

func (p *Proxy) serveSettings(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = io.WriteString(w, p.cfg.Settings) // an asker that left is no fault
}

func (p *Proxy) writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", jsonType)
	_ = json.NewEncoder(w).Encode(v) // fails only with the connection
}
