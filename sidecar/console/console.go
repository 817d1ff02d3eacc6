// Package console is the page on which people see the pod: what its processes do now and did in
// the last hour, its agents, limits, alerts, logs and components, and a chat to try it.
//
// All data comes over the pod's own sockets; once a second the figures of the three processes go
// into a ring in memory and, as events, to every page that is open. Nothing is asked of another
// host, and nobody sees anything without an admin key or the link that serve prints once.
//
// Read: console, session, door, page, pod, exposition, histogram, sample, ring, events, views,
// story, orders, playground.
package console

import (
	"context"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Config is where the console finds what it shows.
type Config struct {
	Proxy, Engine string                             // their sockets
	ProxyURL      string                             // for the playground
	Ticket        string                             // the secret of the link that serve printed; "" without one
	TicketUsed    string                             // file that says that the link was used
	LogDir        string                             //
	Listen        func() string                      // the sidecar's address
	External      string                             // --external-url, whose host is ours too; "" without
	Own           func(io.Writer) (int64, error)     // the sidecar's metrics
	Health        func() any                         // the sidecar's duties
	Manifest      func() any                         // state of the logs' manifest
	Verify        func(context.Context) (any, error) // proves the manifest
	Alerts        func(context.Context) (any, error) //
	Drift         func() any                         // binaries against the SBOM
	Boot          string                             // the sidecar's
	Restarts      *int                               // of the sidecar, where a supervisor counts them
	Log           *zap.Logger
}

// interval is the time between two looks at the pod.
const interval = time.Second

// Console is the page and what it shows.
type Console struct {
	cfg      Config
	pods     pods
	sessions *sessions
	ring     *ring
	hub      *hub
	assets   map[string]*asset
	chats    chan struct{} // one slot for each chat of the playground
	verify   chan struct{} // one slot
	relay    *http.Client
}

// New returns a console that looks at nothing yet.
func New(cfg Config) *Console {
	return &Console{
		cfg: cfg, pods: newPods(cfg), sessions: newSessions(cfg.Ticket, cfg.TicketUsed), ring: newRing(), hub: newHub(), assets: loadAssets(),
		chats: make(chan struct{}, maxChats), verify: make(chan struct{}, 1),
		relay: &http.Client{Transport: &http.Transport{Proxy: nil, ResponseHeaderTimeout: chatPatience, MaxIdleConns: 4, IdleConnTimeout: time.Minute}},
	}
}

// Serve adds the routes.
func (c *Console) Serve(mux *http.ServeMux) {
	mux.Handle("GET /{$}", c.page("index.html"))
	mux.Handle("GET /console/assets/{name}", c.page(""))
	mux.Handle("GET /console/enter", c.checked(http.HandlerFunc(c.enter)))
	mux.Handle("POST /console/api/login", c.checked(http.HandlerFunc(c.login)))
	mux.Handle("POST /console/api/logout", c.checked(http.HandlerFunc(c.logout)))
	mux.Handle("GET /console/api/session", c.checked(http.HandlerFunc(c.session)))
	for pattern, handle := range map[string]http.HandlerFunc{
		"GET /console/api/events":                         c.events,
		"GET /console/api/agents":                         c.agents,
		"GET /console/api/limits":                         c.limits,
		"GET /console/api/alerts":                         c.alerts,
		"GET /console/api/logs":                           c.logs,
		"GET /console/api/requests":                       c.requests,
		"GET /console/api/requests/{id}":                  c.story,
		"GET /console/api/drift":                          c.drift,
		"POST /console/api/logs/verify":                   c.verifyLogs,
		"POST /console/api/agents/{tenant}/{id}/{action}": c.order,
		"POST /console/api/chat":                          c.chat,
	} {
		mux.Handle(pattern, c.checked(c.members(handle)))
	}
}

// Loop looks at the pod until ctx ends.
func (c *Console) Loop(ctx context.Context) {
	defer c.hub.close()
	defer c.pods.close()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	look := newLooker(c)
	for {
		s := look.look(ctx, time.Now())
		c.ring.add(s.at, s.values)
		c.hub.tell(s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
