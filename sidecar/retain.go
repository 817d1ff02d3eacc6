package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain"
)

// limits are what retention goes by.
type limits struct {
	keep     int
	age      time.Duration // 0: none
	errors   time.Duration // of error lines; 0: they are not kept apart
	bytes    int64         // 0: none
	minFree  int64         // 0: none
	settings map[string]string
}

// The settings that have a file removed, as the metric names them.
var removalReasons = []string{"count", "age", "bytes", "disk"}

func newLimits(cfg Config) limits {
	return limits{
		keep: cfg.Keep, age: time.Duration(cfg.MaxAge), errors: time.Duration(cfg.RetainErrors),
		bytes: int64(cfg.MaxBytes), minFree: int64(cfg.MinFree),
		settings: map[string]string{
			"count": fmt.Sprintf("--log-keep=%d", cfg.Keep),
			"age":   fmt.Sprintf("--log-max-age=%s", cfg.MaxAge),
			"bytes": fmt.Sprintf("--log-max-bytes=%s", cfg.MaxBytes),
			"disk":  fmt.Sprintf("--log-min-free=%s", cfg.MinFree),
		},
	}
}

// retain removes rotated files beyond each limit, the oldest first, and files of
// error lines after all others. A file that its writer still holds stays.
func (a *archiver) retain(ctx context.Context, found *folder) error {
	var errs []error
	remove := func(f file, reason string) bool {
		if reason != "disk" && !a.shipped(f) {
			return false
		}
		err := a.remove(ctx, f, reason)
		if err == nil {
			found.drop(f)
			return true
		}
		if !errors.Is(err, errHeld) {
			errs = append(errs, fmt.Errorf("cannot remove what is beyond %s: %w", a.limits.settings[reason], err))
		}
		return false
	}
	for _, f := range a.beyondCount(found) {
		remove(f, "count")
	}
	for _, f := range removable(found) {
		if a.expired(f) {
			remove(f, "age")
		}
	}
	if a.limits.bytes > 0 {
		total := totalSize(found.active...) + totalSize(found.rotated...) + totalSize(found.archive...)
		for _, f := range removable(found) {
			if total > a.limits.bytes && remove(f, "bytes") {
				total -= f.size
			}
		}
	}
	if free, err := a.freeBytes(); err != nil {
		errs = append(errs, err)
	} else if free < a.limits.minFree {
		for _, f := range a.shippedFirst(removable(found)) {
			if free < a.limits.minFree && remove(f, "disk") {
				free += f.size
			}
		}
	}
	return errors.Join(errs...)
}

// removable lists the rotated files in the order in which they may go. Of those
// whose compressed form is there too neither does until that is cleared up.
func removable(found *folder) []file {
	both := found.both()
	var list []file
	for _, f := range append(slices.Clone(found.rotated), found.archive...) {
		if _, twice := both[f.archiveName()]; !twice {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(x, y file) int {
		if hx, hy := logchain.HoldsErrors(x.log), logchain.HoldsErrors(y.log); hx != hy {
			if hx {
				return 1
			}
			return -1
		}
		return cmp.Or(strings.Compare(x.stamp, y.stamp), strings.Compare(x.log, y.log))
	})
	return list
}

// shippedFirst puts what is where it is shipped to before what is not.
func (a *archiver) shippedFirst(list []file) []file {
	shipped := map[string]bool{}
	for _, f := range list {
		shipped[f.path] = a.shipped(f)
	}
	slices.SortStableFunc(list, func(x, y file) int {
		switch sx, sy := shipped[x.path], shipped[y.path]; {
		case sx == sy:
			return 0
		case sx:
			return -1
		}
		return 1
	})
	return list
}

// beyondCount lists what each log has more of than is kept; files of error lines
// are not counted.
func (a *archiver) beyondCount(found *folder) []file {
	left := map[string]int{}
	list := removable(found)
	for _, f := range list {
		left[f.log]++
	}
	return slices.DeleteFunc(list, func(f file) bool {
		left[f.log]--
		return logchain.HoldsErrors(f.log) || left[f.log] < a.limits.keep
	})
}

// expired reports whether a file's time is over. A file of error lines has lines
// that are younger than its name.
func (a *archiver) expired(f file) bool {
	rotated, ok := logchain.StampTime(f.stamp)
	if !ok {
		return false
	}
	age := a.now().Sub(rotated)
	if logchain.HoldsErrors(f.log) {
		return age > max(a.limits.errors, a.limits.age)+errorSpan
	}
	return a.limits.age > 0 && age > a.limits.age
}

// remove gives a file its tombstone and deletes it.
func (a *archiver) remove(ctx context.Context, f file, reason string) error {
	if f.suffix == "" {
		held, err := lockReleased(f.path)
		if err != nil {
			return err
		}
		defer held.Close()
		if err := a.listPlain(ctx, held, f, reason); err != nil {
			return err
		}
	} else if err := a.adopt(ctx, f); err != nil {
		return err
	}
	listed, ok := a.manifest.File(f.name())
	if !ok {
		return fmt.Errorf("%s is not in the manifest", f.name())
	}
	shipped := a.shipped(f)
	a.at("tombstone")
	if err := a.manifest.Append(logchain.Entry{Kind: logchain.Tombstone, Time: a.now(), Name: f.name(), Of: listed.N, Reason: a.limits.settings[reason]}); err != nil {
		return err
	}
	a.at("remove")
	if err := os.Remove(f.path); err != nil {
		return err
	}
	a.removed[reason].Inc()
	if !shipped {
		a.unshipped.AddInt64(int64(listed.Lines))
	}
	a.log.Info("old log removed", zap.String("file", f.path), zap.Int64("bytes", f.size), zap.String("beyond", a.limits.settings[reason]))
	return nil
}

// listPlain lists a file that goes before it was compressed. When that is to make
// room its error lines may be lost.
func (a *archiver) listPlain(ctx context.Context, src *os.File, f file, reason string) error {
	if _, listed := a.manifest.File(f.name()); listed {
		return nil
	}
	if err := a.trim(src, f); err != nil {
		return err
	}
	what, err := a.survey(ctx, src, f, surveying{errors: true, mayLose: reason == "disk" || reason == "bytes"})
	if err != nil {
		return err
	}
	a.at("list")
	if err := a.manifest.Append(logchain.Entry{Kind: logchain.Archived, Time: a.now(), Name: f.name(), File: &what}); err != nil {
		return err
	}
	a.errorLines.AddInt64(int64(what.Errors))
	a.errorsLost.AddInt64(int64(what.Lost))
	return nil
}

// freeBytes tells how much room the volume has.
func (a *archiver) freeBytes() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(a.dir, &fs); err != nil {
		return 0, fmt.Errorf("cannot tell the free disk of --log-dir=%s: %w", a.dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}
