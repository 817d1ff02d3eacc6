package upstream

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	keptIdle    = 256             // connections to one upstream that wait for the next request
	keepIdle    = 4 * time.Second // for so long; llama.cpp's and vLLM's servers close theirs after 5
)

// state is what the watch found out about an upstream.
type state int

const (
	unknown      state = iota // not reached yet
	loadingModel              // it answers, and says that it cannot serve yet
	up
	down
)

func (s state) String() string { return [...]string{"unknown", "loading", "up", "down"}[s] }

// server is one upstream.
type server struct {
	address   string // as it was configured; the label of its metrics
	base      string // of its routes
	transport *http.Transport
	client    *http.Client

	// Guarded by Fleet.mu.
	state    state
	lost     chan struct{} // closed when it goes down; a new one when it comes up again
	gone     bool          // lost is closed
	kind     Kind
	model    string // as it names it
	created  time.Time
	stats    stats
	inFlight int

	failures  int       // of requests, since the last that went well
	ejections int       // since the last request that went well
	ejected   time.Time // it gets no request before, if another can take it
	busy      time.Time // likewise, since it said so
}

func newServer(address string, cfg Config) (*server, error) {
	base, socket, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	s := &server{address: address, base: base, lost: make(chan struct{})}
	s.transport = &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: cfg.HeaderTimeout,
		MaxIdleConnsPerHost:   keptIdle,
		IdleConnTimeout:       keepIdle,
		DisableCompression:    true, // it would hold events back
	}
	if socket != "" {
		s.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	s.client = &http.Client{
		Transport:     s.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}
