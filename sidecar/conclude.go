package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// Conclude is what --log-rotate-on-stop does to the logs of a pod that is gone: every one
// whose writer has let go, the sidecar's own among them, is rotated, archived, listed in
// the manifest and shipped. It comes after Stop, when the sidecar's own file is closed;
// log has none. What it cannot do in ctx's time the next sidecar does, if there is one.
func Conclude(ctx context.Context, cfg Config, log *telemetry.Log) error {
	if !cfg.RotateOnStop {
		return nil
	}
	m := telemetry.NewMetrics("sidecar") // that nobody will ask for
	owner := newOwnership(cfg.LogDir, ownerName, "the logs of this --log-dir")
	ledger, err := newLedger(cfg, owner, log, m)
	if err != nil {
		return err
	}
	s := &Sidecar{owner: owner, ledger: ledger, archive: newArchiver(cfg, ledger, log.Zap(), m), ship: newShipper(cfg, ledger, log.Zap(), m)}
	if s.lines, err = newLineShipper(cfg, owner, log.Zap(), m); err != nil {
		return err
	}
	s.archive.shipped = s.shipped
	err = s.conclude(ctx, cfg.LogDir)
	if s.lines != nil {
		s.lines.closeTails()
		s.lines.client.Close()
	}
	if s.ship != nil && s.ship.bucket != nil {
		err = errors.Join(err, s.ship.bucket.Close())
	}
	return errors.Join(err, ledger.close(), owner.release())
}

func (s *Sidecar) conclude(ctx context.Context, dir string) error {
	if _, err := s.ledger.hold(time.Now()); err != nil {
		return err
	}
	errs := []error{s.rotateReleased(dir)}
	if s.lines != nil {
		errs = append(errs, s.sendRest(ctx))
	}
	errs = append(errs, s.archive.pass(ctx))
	if s.ship != nil {
		errs = append(errs, s.ship.pass(ctx))
	}
	s.ledger.publish()
	return errors.Join(errs...)
}

// rotateReleased renames the logs that nobody writes any more. One that another process
// has open is left to it: it may still have something to say.
func (s *Sidecar) rotateReleased(dir string) error {
	found, err := look(dir)
	if err != nil {
		return fmt.Errorf("cannot list --log-dir=%s: %w", dir, err)
	}
	var errs []error
	for _, f := range found.active {
		if f.size == 0 {
			continue
		}
		lock, err := lockReleased(f.path)
		if errors.Is(err, errHeld) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.Rename(f.path, f.path+"."+s.ledger.stamp(f.log, found.lastStamp(f.log), time.Now())), lock.Close())
	}
	return errors.Join(errs...)
}

// sendRest sends the lines that the receiver does not have yet; the last pass saves how
// far it came.
func (s *Sidecar) sendRest(ctx context.Context) error {
	for {
		if more, err := s.lines.pass(ctx); !more || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}
