package engine

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// swapTimeout is how long an order may take beyond the patience for what still runs:
// to step once more, to write the agents to disk and to open the new model's.
const swapTimeout = time.Minute

// adminRoutes are the orders that the proxy passes on from who has an admin key.
func (e *Engine) adminRoutes() map[string]route {
	return map[string]route{
		"/admin/model":         {method: http.MethodGet, serve: e.tellModel},
		"/admin/model/swap":    {method: http.MethodPost, serve: e.orderSwap},
		"/admin/model/offload": {method: http.MethodPost, serve: e.orderOffload},
		"/admin/model/load":    {method: http.MethodPost, serve: e.orderLoad},
		"/admin/cache/flush":   {method: http.MethodPost, serve: e.orderFlush},
	}
}

// modelState is the answer to every order that is about the model.
type modelState struct {
	Phase       api.Phase `json:"phase"`
	Model       string    `json:"model"`
	Path        string    `json:"path"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	WeightBytes int       `json:"weight_bytes"`
	KVBytes     int       `json:"kv_bytes"`
	DurationMS  float64   `json:"duration_ms,omitempty"` // of the order
	Warning     string    `json:"warning,omitempty"`
}

func (e *Engine) modelState() modelState {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := modelState{Phase: e.phase, Model: e.called(e.backend), Path: e.modelPath}
	if e.backend != nil {
		c := e.backend.card()
		s.Fingerprint, s.WeightBytes, s.KVBytes = c.fingerprint, c.weightBytes, c.kvBytes
	}
	return s
}

func (e *Engine) tellModel(x *exchange) { x.marshal(e.modelState()) }

// order runs one order on the model; a second one meanwhile is refused.
func (x *exchange) order(name string, run func(ctx context.Context) (warning string, err *api.Error)) {
	e := x.engine
	if !e.orders.TryLock() {
		x.fail(&api.Error{Status: http.StatusConflict, Code: "model_busy", Message: "another order on the model is being carried out; GET /admin/model tells how it is"})
		return
	}
	began := time.Now()
	s, err := func() (modelState, *api.Error) {
		defer e.orders.Unlock() // before the answer goes: who has read it may give the next order
		// What was begun is brought to its end, also when the one who ordered it has left.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), e.cfg.SwapPatience+swapTimeout)
		defer cancel()
		warning, err := run(ctx)
		s := e.modelState()
		s.Warning = warning
		return s, err
	}()
	s.DurationMS = milliseconds(time.Since(began))
	if err != nil {
		e.log.Zap().Warn("an order on the model failed", zap.String("order", name), zap.String("request_id", x.id), zap.String("error", err.Message), zap.Float64("duration_ms", s.DurationMS))
		x.fail(err)
		return
	}
	e.log.Announce("an order on the model was carried out", zap.String("order", name), zap.String("request_id", x.id), zap.String("model", s.Model), zap.String("path", s.Path), zap.Float64("duration_ms", s.DurationMS))
	x.marshal(s)
}

// orderSwap answers POST /admin/model/swap: {"model": "PATH"}. A path without a folder
// is looked for beside the model that is served.
func (e *Engine) orderSwap(x *exchange) {
	path, fault := x.swapPath()
	if fault != nil {
		x.fail(fault)
		return
	}
	x.order("swap", func(ctx context.Context) (string, *api.Error) {
		began := time.Now()
		warning, err := e.swap(ctx, path)
		if err == nil {
			e.metrics.modelSwap.Update(time.Since(began).Seconds())
		}
		return warning, err
	})
}

func (x *exchange) swapPath() (string, *api.Error) {
	body, fault := x.body()
	if fault != nil {
		return "", fault
	}
	v, fault := dialect.Parse(body)
	if fault != nil {
		return "", fault
	}
	o := v.Object()
	o.Allow("model")
	path := ""
	if f, ok := o.Need("model"); ok {
		if path = f.String(); path == "" || strings.ContainsRune(path, 0) {
			f.Fail(dialect.CodeInvalidValue, "model must be the path of a GGUF file")
		}
	}
	if path != builtin.Name && !strings.ContainsRune(path, filepath.Separator) {
		path = filepath.Join(filepath.Dir(x.engine.modelState().Path), path)
	}
	return path, o.Err()
}

func (e *Engine) orderOffload(x *exchange) { x.order("offload", e.offload) }

func (e *Engine) orderLoad(x *exchange) { x.order("load", e.reload) }

// flusher is a backend with something that can be forgotten.
type flusher interface {
	// flush forgets every agent, in memory and on disk, and every cached block.
	flush(ctx context.Context) (flushed, error)
}

// flushed is how much was forgotten.
type flushed struct {
	Agents int `json:"agents"`         // in memory
	Blocks int `json:"blocks"`         // that nobody held
	Files  int `json:"agents_on_disk"` // in memory too or not
}

// orderFlush answers POST /admin/cache/flush.
func (e *Engine) orderFlush(x *exchange) {
	b, err := e.serving()
	if err != nil {
		x.fail(err)
		return
	}
	f, ok := b.(flusher)
	if !ok {
		x.fail(errNoModel)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), swapTimeout)
	defer cancel()
	done, bad := f.flush(ctx)
	if bad != nil {
		x.fail(&api.Error{Status: http.StatusInternalServerError, Code: "flush_failed", Message: "not all could be forgotten: " + bad.Error()})
		return
	}
	e.log.Announce("the cache was flushed", zap.String("request_id", x.id), zap.Int("agents", done.Agents), zap.Int("blocks", done.Blocks), zap.Int("files", done.Files))
	x.marshal(done)
}

func (n *native) flush(ctx context.Context) (done flushed, err error) {
	s := n.scheduler
	done, err = inquire(ctx, s, s.flush)
	if err != nil || n.disk == nil {
		return done, err
	}
	n.disk.queue.ForgetAll()
	if n.cold != nil {
		n.cold.Reset()
	}
	done.Files, err = n.disk.store.Clear(ctx)
	return done, err
}

// flush forgets what is in memory. The turns that run go on, and leave nothing behind.
func (s *scheduler) flush() (done flushed) {
	names := map[agentName]bool{}
	for name := range s.agents.known {
		names[name] = true
	}
	done.Agents = len(names)
	s.mu.Lock()
	for name := range s.turns {
		names[name] = true
	}
	s.mu.Unlock()
	for name := range names {
		s.forget(name)
	}
	done.Blocks = s.blocks.Flush()
	return done
}

var errNoModel = &api.Error{
	Status: http.StatusNotImplemented, Code: "unsupported",
	Message: "this engine's backend has no model of its own",
}

var errOffloaded = &api.Error{
	Status: http.StatusServiceUnavailable, Code: "model_offloaded", Finish: api.FinishShed, RetryAfter: 5 * time.Second,
	Message: "the model is offloaded; POST /admin/model/load brings it back",
}
