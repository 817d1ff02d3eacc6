package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
)

// defaultModel is a name by which every client may ask for the model.
const defaultModel = "default"

// ThreeWays says how to come by a model.
const ThreeWays = `there are three ways to give one: "make model" fetches the default model; --model PATH takes any GGUF file of a supported family; so does SEMANTIC_MODEL, or the key "model" in the file of --config`

// ErrModel marks the error of a model that cannot be loaded. It is one of the
// configuration: no restart mends it.
var ErrModel = errors.New("cannot load the model")

// servedName is --model-name or the file's own name.
func servedName(cfg Config) string {
	if cfg.ModelName != "" {
		return cfg.ModelName
	}
	if cfg.Backend == BackendUpstream {
		return "upstream" // until one says what it serves
	}
	name := strings.TrimSuffix(filepath.Base(cfg.Model), ".gguf")
	if name == defaultModel || name == "." {
		return "model"
	}
	return name
}

// loadModel makes the engine ready, or tells Err why it cannot be.
func (e *Engine) loadModel() {
	began := time.Now()
	b, err := e.open()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.loadErr = fmt.Errorf("%w: %w", ErrModel, err)
		e.fail(e.loadErr)
		return
	}
	e.serveWith(b)
	e.metrics.loaded(b.card())
	if e.phase == api.PhaseLoading {
		e.phase = api.PhaseReady
	}
	what := "model loaded"
	if e.cfg.Backend == BackendUpstream {
		what = "upstreams are watched"
	}
	e.log.Announce(what, append(b.describe(), zap.String("path", e.cfg.Model), zap.Float64("duration_ms", milliseconds(time.Since(began))))...)
}

func (e *Engine) openModel() (backend, error) {
	if e.cfg.Backend == BackendUpstream {
		return newRemote(e.cfg, e.metrics, e.log.Zap())
	}
	cfg := e.cfg
	cfg.Model = e.modelState().Path
	if cfg.Model == "" {
		return nil, errors.New("no model was given; " + ThreeWays)
	}
	n, err := newNative(cfg, e.metrics, e.log.Zap())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--model=%s: %w; %s", cfg.Model, err, ThreeWays)
	}
	if err != nil {
		return nil, fmt.Errorf("--model=%s: %w", cfg.Model, err)
	}
	return n, nil
}

// serving returns the backend, or why there is none to be had.
func (e *Engine) serving() (backend, *api.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.backend != nil:
		return e.backend, nil
	case e.phase == api.PhaseStopping:
		return nil, errStopping
	case e.phase == api.PhaseOffloaded:
		return nil, errOffloaded
	}
	return nil, errLoading
}

// names returns every name by which the model may be asked for in its list.
func (e *Engine) names(b backend) []string { return append([]string{e.called(b)}, e.cfg.ModelAlias...) }

// called is the model's name: ours, if --model-name gives one, or the backend's own.
func (e *Engine) called(b backend) string {
	if e.cfg.ModelName != "" || b == nil || b.card().name == "" {
		return e.name
	}
	return b.card().name
}
