package api

import "time"

// Routes inside the pod, over the Unix sockets.
const (
	PathState   = "/internal/state"
	PathMetrics = "/internal/metrics"
	PathBuild   = "/internal/build"

	PathLogLevel = "/internal/log-level"
	PathKeys     = "/internal/keys"
	PathAdmin    = "/internal/admin"  // proxy: is the key of Authorization an admin's
	PathAgents   = "/internal/agents" // engine
	PathSettings = "/internal/settings"
	PathRules    = "/internal/rules" // sidecar: the alert rules as it has them
)

// Phase is where an engine is in its life.
type Phase string

// The phases of an engine.
const (
	PhaseLoading   Phase = "loading"
	PhaseReady     Phase = "ready"
	PhaseOffloaded Phase = "offloaded"
	PhaseStopping  Phase = "stopping"
	PhaseCutOff    Phase = "cut_off" // no upstream that it hands requests to can be reached
)

// EngineState is the body of GET /internal/state on the engine's socket. The
// proxy polls it, so that no probe waits on the engine.
type EngineState struct {
	Boot            string  `json:"boot"`             // new at each start of the process
	Phase           Phase   `json:"phase"`            //
	Model           string  `json:"model"`            // the served name
	PoolUtilization float64 `json:"pool_utilization"` // percent of blocks that eviction cannot free
	Queued          int     `json:"queued"`           // requests waiting for a slot
	Running         int     `json:"running"`          // requests in the batch
	LastStepAgeMS   int64   `json:"last_step_age_ms"` // since a decode step ended while work was there; 0 when idle
	LoadError       string  `json:"load_error,omitempty"`
	Restarts        *int    `json:"restarts,omitempty"` // how often its supervisor started it again; absent without one
}

// ProxyState is the body of GET /internal/state on the proxy's socket. The
// sidecar polls it.
type ProxyState struct {
	Boot        string `json:"boot"`                  // new at each start of the process
	Ready       bool   `json:"ready"`                 // what /health/ready says
	Reason      string `json:"reason,omitempty"`      // why not, such as "shutting_down"
	InFlight    int64  `json:"in_flight"`             // requests whose answer has not ended
	Connections int    `json:"connections"`           // open connections of clients
	EngineUp    bool   `json:"engine_up"`             // the engine answered the last poll
	EngineBoot  string `json:"engine_boot,omitempty"` // of the engine that was seen last
	Restarts    *int   `json:"restarts,omitempty"`    // how often its supervisor started it again; absent without one
}

// AgentList is the body of GET /internal/agents on the engine's socket: the agents of all
// tenants, those used last first.
type AgentList struct {
	BlockTokens int        `json:"block_tokens"` // that one block holds
	Blocks      int        `json:"blocks"`       // of the KV pool
	Used        int        `json:"used"`         // held by requests that run
	Cached      int        `json:"cached"`       // held by nobody, and still known
	Total       int        `json:"total"`        // agents that there are; the list is cut
	Agents      []Agent    `json:"agents"`
	Cold        *ColdStore `json:"cold,omitempty"` // nil without one
}

// ColdStore is how the store is that pods share.
type ColdStore struct {
	Up         bool    `json:"up"`
	Pending    int     `json:"pending"`     // agents that it lacks as they are here
	LagSeconds float64 `json:"lag_seconds"` // for how long it has been behind
}

// Agent is one agent as the pod itself sees it.
type Agent struct {
	Tenant   string    `json:"tenant"`
	ID       string    `json:"id"`
	Tier     string    `json:"tier"`           // hot: in the KV pool; warm: on disk; cold: in the cold store alone
	Tokens   int       `json:"tokens"`         // that its next turn need not compute
	Bytes    int64     `json:"bytes"`          // that they take in that tier
	Hits     int       `json:"hits,omitempty"` // turns that found part of their prompt, since it is in memory
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used"`
	Blocks   []int32   `json:"blocks,omitempty"` // numbers of its blocks in the pool
}
