package engine

import (
	"encoding/json"
	"io"
	"net/http"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
)

// State is what GET /internal/state answers, from memory.
func (e *Engine) State() api.EngineState {
	l := e.load()
	e.mu.Lock()
	defer e.mu.Unlock()
	phase := e.phase
	if a, may := e.backend.(availability); may && phase == api.PhaseReady {
		phase = a.phase()
	}
	s := api.EngineState{
		Boot: e.log.Boot(), Phase: phase, Model: e.called(e.backend),
		PoolUtilization: 100 * l.poolUsed, Queued: l.queued, Running: l.running,
		LastStepAgeMS: l.stepAge.Milliseconds(), Restarts: e.cfg.Restarts,
	}
	if e.loadErr != nil {
		s.LoadError = e.loadErr.Error()
	}
	return s
}

func (e *Engine) serveState(x *exchange) { x.marshal(e.State()) }

func (e *Engine) serveBuild(x *exchange) {
	build := telemetry.ReadBuild()
	sum, err := telemetry.ExecutableSHA256()
	if err != nil {
		e.log.Zap().Warn("the build is told without its hash", zap.Error(err))
	}
	build.ExecutableSHA256 = sum
	x.marshal(build)
}

func (e *Engine) serveSettings(x *exchange) {
	x.w.Header().Set("Content-Type", "application/yaml")
	x.writeHeader(http.StatusOK)
	_, _ = io.WriteString(x.w, e.cfg.Settings) // an asker that left is no fault
}

func (e *Engine) serveMetrics(x *exchange) {
	x.w.Header().Set("Content-Type", telemetry.ContentType)
	x.writeHeader(http.StatusOK)
	_, _ = e.metrics.all.WriteTo(x.w) // an asker that left is no fault
}

func (x *exchange) marshal(v any) { x.marshalAs(http.StatusOK, v) }

func (x *exchange) marshalAs(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of plain fields
	}
	x.finish = api.FinishOK
	x.w.Header().Set(api.HeaderFinish, string(x.finish))
	x.json(status, b)
}
