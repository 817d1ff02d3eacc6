package sidecar

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/telemetry"
)

// duty is one thing that the sidecar does again and again: it remembers when that
// was last tried and last went well, which is what health tells, and logs a failure
// when it begins, changes or ends, not each time.
type duty struct {
	name     string
	patience time.Duration // how long without success is still healthy
	log      *zap.Logger
	failures *telemetry.Counter

	mu      sync.Mutex
	began   time.Time
	turned  time.Time // when the loop was last seen to move
	success time.Time // zero: never
	failure string    // "" after a success
}

// DutyState is what health tells of one duty.
type DutyState struct {
	OK         bool    `json:"ok"`
	AgeSeconds float64 `json:"age_seconds"` // since it last succeeded; since the start if it never did
	Never      bool    `json:"never_succeeded,omitempty"`
	Error      string  `json:"error,omitempty"`
}

func newDuty(name string, patience time.Duration, log *zap.Logger, m *telemetry.Metrics) *duty {
	now := time.Now()
	return &duty{
		name: name, patience: patience, log: log.With(zap.String("duty", name)), began: now, turned: now,
		failures: m.Counter("semantic_sidecar_failures_total", `duty="`+name+`"`, "Times that a duty of the sidecar did not succeed; it is tried again."),
	}
}

// beat says that the loop moves, in the middle of something long.
func (d *duty) beat() {
	d.mu.Lock()
	d.turned = time.Now()
	d.mu.Unlock()
}

// done takes the outcome of one try.
func (d *duty) done(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turned = time.Now()
	before := d.failure
	if err == nil {
		d.success, d.failure = d.turned, ""
		if before != "" {
			d.log.Info("duty succeeds again")
		}
		return
	}
	d.failures.Inc()
	d.failure = err.Error()
	if d.failure != before {
		d.log.Warn("duty failed and is tried again", zap.Error(err))
	}
}

// rest waits until the next try and reports whether there shall be one.
func (d *duty) rest(ctx context.Context, pause time.Duration) bool {
	const step = 10 * time.Second // far below stuckAfter
	for ; ; pause -= step {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(pause, step)):
		}
		d.beat()
		if pause <= step {
			return true
		}
	}
}

// tried reports whether it was tried at least once.
func (d *duty) tried() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.success.IsZero() || d.failure != ""
}

// state says how the duty stands.
func (d *duty) state(now time.Time) DutyState {
	d.mu.Lock()
	defer d.mu.Unlock()
	since := d.success
	if since.IsZero() {
		since = d.began
	}
	age := now.Sub(since)
	return DutyState{OK: age <= d.patience, AgeSeconds: age.Seconds(), Never: d.success.IsZero(), Error: d.failure}
}

// stuck reports whether the loop has not moved for longer than any wait in it.
func (d *duty) stuck(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Sub(d.turned) > stuckAfter
}

// stuckAfter is far beyond every interval and deadline, so that only a loop that
// hangs in the kernel or is lost is called stuck.
const stuckAfter = 2 * time.Minute
