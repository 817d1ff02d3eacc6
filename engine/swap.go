package engine

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
)

// swap puts another model in the place of the one that is served, which goes on serving
// until the new one is in memory, and for good if that cannot be had. From then on
// requests wait in the new model's queue while the old one ends what it has begun.
func (e *Engine) swap(ctx context.Context, path string) (warning string, fault *api.Error) {
	cfg := e.cfg
	cfg.Model = path
	if _, ours := e.current().(*native); !ours && e.current() != nil {
		return "", errNoModel
	}
	next, err := prepareNative(cfg, e.metrics, e.log.Zap())
	if err != nil {
		return "", &api.Error{
			Status: http.StatusUnprocessableEntity, Code: "model_rejected", Param: "model",
			Message: fmt.Sprintf("cannot serve %s; the model before it stays: %v", path, err),
		}
	}
	old, ok := e.replace(next, path)
	if !ok {
		_ = next.close()
		return "", errStopping
	}
	e.metrics.loaded(next.card())
	if n, ours := old.(*native); ours {
		if err := e.retire(ctx, n); err != nil {
			warning = "the old model was not put away in order: " + err.Error()
		}
	}
	if err := next.begin(cfg, e.metrics); err != nil { // it serves without a disk then
		warning = "agents are kept in memory alone: " + err.Error()
	}
	return warning, nil
}

// replace makes a backend the one that serves, and returns the one before it. An engine
// that stops takes none.
func (e *Engine) replace(next backend, path string) (old backend, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == api.PhaseStopping {
		return nil, false
	}
	old = e.backend
	e.serveWith(next)
	e.phase, e.modelPath = api.PhaseReady, path
	return old, true
}

// retire lets a model end what it has begun for as long as --swap-patience, writes its
// agents to disk and frees its memory.
func (e *Engine) retire(ctx context.Context, n *native) error {
	patience, cancel := context.WithTimeout(ctx, e.cfg.SwapPatience)
	defer cancel()
	for l := n.load(); l.running+l.queued > 0 && patience.Err() == nil; l = n.load() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-e.stopping:
			cancel()
		case <-patience.Done():
		}
	}
	if err := n.drain(ctx); err != nil {
		return err
	}
	persisting, cancelPersisting := context.WithTimeout(ctx, e.cfg.PersistTimeout)
	defer cancelPersisting()
	if err := n.persist(persisting); err != nil {
		return err
	}
	return n.close()
}

// offload frees the memory of the model. Requests are refused until it is loaded again.
func (e *Engine) offload(ctx context.Context) (warning string, fault *api.Error) {
	e.mu.Lock()
	n, ours := e.backend.(*native)
	switch {
	case e.phase == api.PhaseStopping:
		fault = errStopping
	case e.phase == api.PhaseLoading:
		fault = errLoading
	case e.backend != nil && !ours:
		fault = errNoModel
	default:
		e.serveWith(nil)
		e.phase = api.PhaseOffloaded
	}
	e.mu.Unlock()
	if fault != nil || n == nil {
		return "", fault
	}
	if err := e.retire(ctx, n); err != nil {
		return "the model was not put away in order: " + err.Error(), nil
	}
	return "", nil
}

// reload brings an offloaded model back.
func (e *Engine) reload(context.Context) (warning string, fault *api.Error) {
	e.mu.Lock()
	switch e.phase {
	case api.PhaseStopping:
		fault = errStopping
	case api.PhaseLoading:
		fault = errLoading
	case api.PhaseOffloaded:
		e.phase = api.PhaseLoading
	}
	there, path := e.backend != nil, e.modelPath
	e.mu.Unlock()
	if fault != nil || there {
		return "", fault
	}
	began := time.Now()
	b, err := e.open()
	if err != nil {
		e.mu.Lock()
		if e.phase == api.PhaseLoading {
			e.phase = api.PhaseOffloaded
		}
		e.mu.Unlock()
		return "", &api.Error{Status: http.StatusUnprocessableEntity, Code: "model_rejected", Message: "the model stays offloaded: " + err.Error()}
	}
	if _, ok := e.replace(b, path); !ok {
		ending, cancel := context.WithTimeout(context.Background(), swapTimeout)
		defer cancel()
		if n, ours := b.(*native); ours {
			if err := e.retire(ending, n); err != nil {
				e.log.Zap().Warn("a model that was loaded while the engine stopped was not put away in order", zap.Error(err))
			}
		}
		return "", errStopping
	}
	e.metrics.loaded(b.card())
	e.metrics.modelSwap.Update(time.Since(began).Seconds())
	return "", nil
}
