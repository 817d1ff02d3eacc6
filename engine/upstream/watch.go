package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	looksToLose   = 3       // that fail before an upstream counts as down
	maxLookBytes  = 8 << 20 // of an answer to the watch
	identifyEvery = 10      // looks after which an upstream is asked again what it is
)

// errNotReady is of an upstream that answers and cannot serve yet.
var errNotReady = errors.New("it says that it is not ready")

// watch looks at one upstream until ctx ends.
func (f *Fleet) watch(ctx context.Context, s *server) {
	w := watcher{f: f, s: s}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		w.look(ctx)
		timer.Reset(f.cfg.HealthInterval)
	}
}

// watcher is what the watch on one upstream remembers from look to look.
type watcher struct {
	f      *Fleet
	s      *server
	failed int // looks, one after the other
	known  int // looks since it was asked what it is; 0 if that has to be
}

// patience is how long one look may take.
func (f *Fleet) patience() time.Duration {
	return min(max(2*f.cfg.HealthInterval, 500*time.Millisecond), 5*time.Second)
}

// look asks for health, now and then for the model, and for the metrics.
func (w *watcher) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.f.patience())
	defer cancel()
	err := w.f.healthy(ctx, w.s)
	if err == nil && w.known%identifyEvery == 0 {
		err = w.identify(ctx)
	}
	if context.Cause(ctx) != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return // the watch is over
	}
	switch {
	case err == nil:
		w.failed = 0
		w.known++
		w.f.turn(w.s, up, nil)
		w.readMetrics(ctx)
	case errors.Is(err, errNotReady):
		w.failed, w.known = 0, 0
		w.f.turn(w.s, loadingModel, err)
	default:
		w.failed++
		if w.failed >= looksToLose || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
			w.known = 0
			w.f.turn(w.s, down, err)
		}
	}
}

func (w *watcher) identify(ctx context.Context) error {
	kind, model, created, err := w.f.identify(ctx, w.s)
	if err != nil {
		w.known = 0
		return err
	}
	w.f.mu.Lock()
	w.s.kind, w.s.model, w.s.created = kind, model, created
	w.f.mu.Unlock()
	return nil
}

// readMetrics keeps the old numbers when the new ones do not come: an upstream that
// is too busy to tell them is still up.
func (w *watcher) readMetrics(ctx context.Context) {
	if w.s.kind == Other { // the watch alone writes it
		return
	}
	body, err := w.f.get(ctx, w.s, "/metrics")
	if err != nil {
		return
	}
	st := readStats(body)
	w.f.mu.Lock()
	w.s.stats = st
	w.f.mu.Unlock()
}

// healthy asks the upstream for its health. One that has no such route is asked for
// its models, which is the next question anyway.
func (f *Fleet) healthy(ctx context.Context, s *server) error {
	status, _, err := f.ask(ctx, s, "/health")
	switch {
	case err != nil:
		return err
	case status == http.StatusOK, status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		status == http.StatusUnauthorized, status == http.StatusForbidden:
		return nil
	case status == http.StatusServiceUnavailable:
		return errNotReady
	}
	return fmt.Errorf("GET /health answers %d", status)
}

// turn notes an upstream's state. Requests that still wait for a lost one to begin
// go to another.
func (f *Fleet) turn(s *server, to state, why error) {
	f.mu.Lock()
	from := s.state
	s.state = to
	switch {
	case from == to:
	case to == up:
		f.met = true
		if s.gone {
			s.lost, s.gone = make(chan struct{}), false
		}
		s.failures, s.ejections, s.ejected, s.busy = 0, 0, time.Time{}, time.Time{}
	case to == down && !s.gone:
		close(s.lost)
		s.gone = true
	}
	kind, model := s.kind, s.model
	f.mu.Unlock()
	if from == to {
		return
	}
	if to == up {
		f.log.Info("upstream is up", zap.String("upstream", s.address), zap.Stringer("kind", kind), zap.String("upstream_model", model))
	} else {
		f.log.Warn("upstream is not up", zap.String("upstream", s.address), zap.Stringer("state", to), zap.Error(why))
	}
	f.changed()
}

// get returns the body of a route that must answer 200.
func (f *Fleet) get(ctx context.Context, s *server, path string) ([]byte, error) {
	status, body, err := f.ask(ctx, s, path)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, fmt.Errorf("GET %s answers %d: see --upstream-key-file", path, status)
	case status != http.StatusOK:
		return nil, fmt.Errorf("GET %s answers %d", path, status)
	}
	return body, nil
}

func (f *Fleet) ask(ctx context.Context, s *server, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	f.authorize(req)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLookBytes))
	return resp.StatusCode, body, err
}

func (f *Fleet) authorize(req *http.Request) {
	if f.key != "" {
		req.Header.Set("Authorization", "Bearer "+f.key)
	}
}
