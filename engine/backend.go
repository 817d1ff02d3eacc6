package engine

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// admission is a request with what the proxy says about it.
type admission struct {
	*dialect.Request
	tenant                 string
	agent                  string // "" for none
	requestID, traceparent string
	allowance              int // tokens that the tenant's key may still spend; -1 without a bound
	arrival                time.Time
	trace                  *batchTrace // nil for a request that is not traced
}

// backend makes answers. It is the seam between the dialects before it and
// whatever computes behind it.
type backend interface {
	// start admits a request and returns its answers in the making, or refuses it. It
	// does not wait for them. They end with ctx, at the latest, which the caller must
	// end when a request is refused: some of its answers may have been begun.
	start(ctx context.Context, a admission) (choices, *api.Error)

	// count returns how many tokens the prompt of a request has.
	count(ctx context.Context, r *dialect.Request) (int, *api.Error)
	// card describes the model that it serves.
	card() card

	// describe tells the log what it is.
	describe() []zap.Field

	// load tells how busy it is, from memory and at once.
	load() load

	// drain ends what still runs as drained and refuses what comes after.
	drain(ctx context.Context) error

	// persist writes what is worth it to disk, once the backend was drained.
	persist(ctx context.Context) error

	// close frees the memory of a backend that was drained. Nobody may use it then.
	close() error
}

// availability is of a backend that may lose what computes for it, and get it back.
type availability interface {
	// phase is PhaseReady while it can serve, from memory and at once.
	phase() api.Phase
}

// card is what clients and metrics see of a model.
type card struct {
	name        string // what the backend itself calls it; "" if it has no name of its own
	created     time.Time
	fingerprint string
	weightBytes int
	kvBytes     int // of the whole KV pool
	kvBlocks    int
	blockTokens int
}

// load is how busy a backend is.
type load struct {
	queued, running int
	agents          int           // in memory
	poolUsed        float64       // share of the blocks that eviction cannot free, 0 to 1
	stepAge         time.Duration // since a step ended while work was there
}
