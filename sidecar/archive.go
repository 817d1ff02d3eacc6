package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

const (
	stallAfter  = 5 * time.Second // a writer follows a rotation in 100 ms
	firstPause  = time.Second     // before a file that could not be archived is tried again
	maxPause    = 5 * time.Minute
	leastNice   = 19
	archiveMode = 0o600
)

// archiver takes rotated files on once their writers have let go of them, which is
// when the kernel grants it the exclusive lock. What is done with a file is seen
// from the names and the manifest alone, so that after a crash at any point the next
// pass goes on.
type archiver struct {
	dir        string
	errorBytes int64 // size at which a file of error lines is archived
	limits     limits
	stallAfter time.Duration
	ledger     *ledger
	duty       *duty
	log        *zap.Logger
	now        func() time.Time
	shipped    func(file) bool   // whether it is everywhere where it is to be
	at         func(step string) // before each step: tells health that the loop moves

	manifest *logchain.Manifest // of the present pass
	attempts map[string]attempt // by path; of files that could not be archived yet

	stalled    *telemetry.Gauge
	removed    map[string]*telemetry.Counter // by reason
	cut        *telemetry.Counter
	errorLines *telemetry.Counter
	errorsLost *telemetry.Counter
	unshipped  *telemetry.Counter
}

// attempt is what is remembered of a file between passes.
type attempt struct {
	held  time.Time // since when its writer was seen to hold it; zero if it does not
	next  time.Time // when it is tried again after a failure
	pause time.Duration
	err   error // the failure
}

// errHeld is what the lock on a file says while a process still writes it.
var errHeld = errors.New("its writer has not let go of it")

func newArchiver(cfg Config, ledger *ledger, log *zap.Logger, m *telemetry.Metrics) *archiver {
	a := &archiver{
		dir: cfg.LogDir, errorBytes: int64(cfg.RotateBytes), limits: newLimits(cfg),
		stallAfter: stallAfter, ledger: ledger, log: log, now: time.Now,
		duty:       newDuty("log_archive", patience(cfg.CheckInterval), log, m),
		attempts:   map[string]attempt{},
		stalled:    m.Gauge("semantic_log_reopen_stalled", "", "1 while a process has not let go of a log file that was rotated a while ago."),
		removed:    map[string]*telemetry.Counter{},
		cut:        m.Counter("semantic_log_torn_lines_total", "", "Pieces of lines cut off rotated files whose writers were killed; none was acknowledged."),
		errorLines: m.Counter("semantic_log_error_lines_kept_total", "", "Error lines copied to files of their own, to be kept longer."),
		errorsLost: m.Counter("semantic_log_error_lines_lost_total", "", "Error lines that a full disk did not take when their file had to go."),
	}
	a.unshipped = m.Counter("semantic_log_lines_unshipped_total", `reason="removed"`, unshippedHelp)
	a.shipped = func(file) bool { return true }
	a.at = func(string) { a.duty.beat() }
	for _, reason := range removalReasons {
		a.removed[reason] = m.Counter("semantic_log_files_removed_total", `reason="`+reason+`"`, "Rotated log files removed by retention, by the setting that asked for it.")
	}
	return a
}

// loop runs passes until ctx ends. Its thread is the least nice one, and ends with
// it, so that compressing takes only the CPU that requests leave.
func (a *archiver) loop(ctx context.Context, interval time.Duration) {
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, leastNice); err != nil {
		a.log.Warn("archiving cannot be made nice", zap.Error(err))
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := a.pass(ctx); ctx.Err() == nil {
			a.duty.done(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass finishes what a crash left, removes what is too much, and archives the rest.
func (a *archiver) pass(ctx context.Context) error {
	m, err := a.ledger.hold(a.now())
	if err != nil {
		return err
	}
	a.manifest = m
	defer a.ledger.publish()
	found, err := look(a.dir)
	if err != nil {
		return fmt.Errorf("cannot list --log-dir=%s: %w", a.dir, err)
	}
	errs := []error{a.clear(&found), a.retain(ctx, &found)}
	stalled := 0.0
	for _, f := range found.rotated {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if a.stillGrows(f) {
			continue
		}
		err := a.try(f, func() error { return a.archive(ctx, f) })
		if errors.Is(err, errHeld) {
			stalled = 1
		}
		errs = append(errs, err)
	}
	a.stalled.Set(stalled)
	for _, f := range found.archive {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, listed := m.File(f.name()); !listed {
			errs = append(errs, a.try(f, func() error { return a.adopt(ctx, f) }))
		}
	}
	a.forget(found)
	return errors.Join(errs...)
}

// clear finishes or takes back what was being done when an earlier sidecar died:
// a removal that has its tombstone is repeated; a copy that was not yet proved goes,
// since the file that it was made from is still there.
func (a *archiver) clear(found *folder) error {
	var errs []error
	for _, f := range found.parts {
		errs = append(errs, os.Remove(f.path))
	}
	for _, f := range append(append([]file(nil), found.rotated...), found.archive...) {
		if _, listed := a.manifest.File(f.name()); !listed && a.manifest.Gone(f.name()) {
			errs = append(errs, a.unlink(f, found))
		}
	}
	for name, f := range found.both() {
		if _, listed := a.manifest.File(name); !listed {
			errs = append(errs, a.unlink(f, found))
		}
	}
	return errors.Join(errs...)
}

func (a *archiver) unlink(f file, found *folder) error {
	a.at("clear")
	if err := os.Remove(f.path); err != nil {
		return err
	}
	found.drop(f)
	return nil
}

// try does what is to be done with a file. After a failure it goes on returning that
// until the next try is due. That its writer holds the file is an error only after
// a while.
func (a *archiver) try(f file, do func() error) error {
	now := time.Now()
	t := a.attempts[f.path]
	if now.Before(t.next) {
		return t.err
	}
	a.at("begin")
	err := do()
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		delete(a.attempts, f.path)
		return nil
	case errors.Is(err, errHeld):
		if t.held.IsZero() {
			t.held = now
		}
		if now.Sub(t.held) >= a.stallAfter {
			t.err = fmt.Errorf("cannot archive %s: %w", f.path, err)
		}
	default:
		t.err = fmt.Errorf("cannot archive %s: %w", f.path, err)
		t.pause = min(max(firstPause, 2*t.pause), maxPause)
		t.next = now.Add(t.pause)
	}
	a.attempts[f.path] = t
	return t.err
}

// forget drops what is remembered of files that are gone.
func (a *archiver) forget(found folder) {
	there := map[string]bool{}
	for _, list := range [][]file{found.rotated, found.archive} {
		for _, f := range list {
			there[f.path] = true
		}
	}
	for path := range a.attempts {
		if !there[path] {
			delete(a.attempts, path)
		}
	}
}

// lockReleased opens a rotated file and takes the exclusive lock, which the kernel
// grants when the writer has let go or died. It never waits.
func lockReleased(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errHeld
		}
		return nil, err
	}
	return f, nil
}
