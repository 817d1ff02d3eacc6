package sidecar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/telemetry"
)

// rotator renames logs that are due. Their writers notice that the path is gone and
// begin a new file; nobody is signalled.
type rotator struct {
	dir    string
	due    *dueness
	owner  *ownership
	ledger *ledger
	duty   *duty
	log    *zap.Logger
	now    func() time.Time

	rotations *telemetry.Counter
	bytes     map[string]*telemetry.Gauge // by state
	diskFree  *telemetry.Gauge
}

func newRotator(cfg Config, owner *ownership, ledger *ledger, log *zap.Logger, m *telemetry.Metrics) (*rotator, error) {
	due, err := newDueness(cfg)
	if err != nil {
		return nil, err
	}
	r := &rotator{
		dir: cfg.LogDir, due: due, owner: owner, ledger: ledger, log: log, now: time.Now,
		duty:      newDuty("log_rotation", patience(cfg.CheckInterval), log, m),
		rotations: m.Counter("semantic_log_rotations_total", "", "Log files rotated."),
		bytes:     map[string]*telemetry.Gauge{},
		diskFree:  m.Gauge("semantic_disk_free_ratio", `volume="logs"`, "Free part of a volume, 0 to 1."),
	}
	for _, state := range []string{"active", "rotated", "compressed"} {
		r.bytes[state] = m.Gauge("semantic_log_bytes", `state="`+state+`"`, "Bytes of log files, by state.")
	}
	r.measureDisk() // a scrape may come before the first look
	return r, nil
}

// patience is how long a duty of that interval may go without success.
func patience(interval time.Duration) time.Duration {
	return max(10*time.Second, 3*interval)
}

// loop checks until ctx ends.
func (r *rotator) loop(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		r.duty.done(r.check(r.now()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// check looks at the folder once and rotates what is due. The rename is the whole
// of it: the new name says what is to be done next, whoever comes to do it.
func (r *rotator) check(now time.Time) error {
	found, err := look(r.dir)
	if err != nil {
		return fmt.Errorf("cannot list --log-dir=%s: %w", r.dir, err)
	}
	r.measure(found)
	if _, err := r.owner.hold(); err != nil {
		return err
	}
	var errs []error
	for _, f := range found.active {
		why, err := r.due.why(f, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot tell how old %s is: %w", f.path, err))
		}
		if why == "" {
			continue
		}
		to := f.path + "." + r.ledger.stamp(f.log, found.lastStamp(f.log), now)
		if err := os.Rename(f.path, to); err != nil {
			errs = append(errs, fmt.Errorf("cannot rotate: %w", err))
			continue
		}
		r.due.forget(f.path)
		r.rotations.Inc()
		r.log.Info("log rotated", zap.String("file", f.log), zap.Int64("bytes", f.size), zap.String("due", why), zap.String("to", to))
	}
	return errors.Join(errs...)
}

// measure sets the gauges of the volume and of what is on it.
func (r *rotator) measure(found folder) {
	r.bytes["active"].Set(float64(totalSize(found.active...)))
	r.bytes["rotated"].Set(float64(totalSize(found.rotated...)))
	r.bytes["compressed"].Set(float64(totalSize(found.archive...)))
	r.measureDisk()
}

// measureDisk sets how much of the volume is free; what cannot be told is no number,
// which unlike 0 raises no alert.
func (r *rotator) measureDisk() {
	free := math.NaN()
	var fs unix.Statfs_t
	if err := unix.Statfs(r.dir, &fs); err == nil && fs.Blocks > 0 {
		free = float64(fs.Bavail) / float64(fs.Blocks)
	}
	r.diskFree.Set(free)
}
