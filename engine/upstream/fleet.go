// Package upstream hands requests to servers that compute answers elsewhere: vLLM,
// llama.cpp's server, another pod of ours, or anything that speaks OpenAI's API. It
// keeps watch on them, chooses one for each request, translates, reads the answer's
// stream, and says truthfully how it ended.
//
// Read: config, fleet, server, choose, watch, kind, exposition, generate, body,
// transport, events, answer, logprobs, messages, refusal, count, metrics.
package upstream

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
)

// Fleet is all upstreams of an engine.
type Fleet struct {
	cfg     Config
	key     string // sent as bearer token; "" for none
	log     *zap.Logger
	metrics *Metrics
	changed func()
	servers []*server

	mu     sync.Mutex // guards also what each server says is guarded by it
	met    bool       // one of them was up once
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New returns a fleet that is not watched yet. changed is called after an upstream
// came up or went down.
func New(cfg Config, log *zap.Logger, m *Metrics, changed func()) (*Fleet, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, log: log, metrics: m, changed: changed}
	if cfg.KeyFile != "" {
		key, err := os.ReadFile(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--upstream-key-file: %w", err)
		}
		if f.key = strings.TrimSpace(string(key)); f.key == "" || strings.ContainsAny(f.key, "\r\n") {
			return nil, fmt.Errorf("--upstream-key-file=%s must hold one key on one line", cfg.KeyFile)
		}
	}
	for _, address := range cfg.URLs {
		s, err := newServer(address, cfg)
		if err != nil {
			return nil, err
		}
		f.servers = append(f.servers, s)
	}
	m.watch(f)
	return f, nil
}

// Start begins to watch the upstreams.
func (f *Fleet) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	for _, s := range f.servers {
		f.wg.Go(func() { f.watch(ctx, s) })
	}
}

// Stop ends the watch and closes the connections that nobody uses. Calls of
// Generate must have ended.
func (f *Fleet) Stop() {
	if f.cancel != nil {
		f.cancel()
	}
	f.wg.Wait()
	for _, s := range f.servers {
		s.transport.CloseIdleConnections()
	}
}

// Phase is PhaseReady while one upstream is up, PhaseLoading until the first one
// was, and PhaseCutOff when none is any more.
func (f *Fleet) Phase() api.Phase {
	f.mu.Lock()
	defer f.mu.Unlock()
	loading := false
	for _, s := range f.servers {
		switch s.state {
		case up:
			return api.PhaseReady
		case loadingModel:
			loading = true
		}
	}
	if loading || !f.met {
		return api.PhaseLoading
	}
	return api.PhaseCutOff
}

// Card is what the upstreams call their model, and when it was made: those of the
// first one that was ever reached.
func (f *Fleet) Card() (model string, created time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		if s.model != "" {
			return shortName(s.model), s.created
		}
	}
	return shortName(f.cfg.Model), time.Time{}
}

// shortName drops the folder and the ending of a model that is named by its file.
func shortName(model string) string {
	if strings.HasSuffix(model, ".gguf") {
		return strings.TrimSuffix(model[strings.LastIndexByte(model, '/')+1:], ".gguf")
	}
	return model
}

// Load is how busy the upstreams are, as they said when they were last asked.
type Load struct {
	Up      int     // upstreams that take requests
	Waiting int     // requests that wait in them, whoever sent them
	KVUsed  float64 // share of the KV memory that is in use, the mean of those that tell
}

// Load returns it from memory.
func (f *Fleet) Load() Load {
	f.mu.Lock()
	defer f.mu.Unlock()
	var l Load
	told := 0
	for _, s := range f.servers {
		if s.state != up {
			continue
		}
		l.Up++
		l.Waiting += int(s.stats.waiting)
		if s.stats.tellsKV {
			l.KVUsed += s.stats.kvUsed
			told++
		}
	}
	if told > 0 {
		l.KVUsed /= float64(told)
	}
	return l
}
