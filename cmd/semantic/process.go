package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/supervise"
	"github.com/semantic-pod/semantic/telemetry"
)

// process is what proxy, engine and sidecar have in common.
type process interface {
	Start() error
	Stop(ctx context.Context) error
	Err() <-chan error
}

// runProcess starts a process, waits for a signal or its failure, and stops it
// within budget. A second signal ends the wait.
func runProcess(name string, s *shared, w *world, budget time.Duration, open func(*telemetry.Log) (process, error)) error {
	if err := s.makeFolders(); err != nil {
		return err
	}
	log, err := s.openLog(name, w)
	if err != nil {
		return err
	}
	err = live(log, budget, open)
	if err != nil {
		log.Zap().Error("process failed", zap.Error(err))
	}
	return errors.Join(err, log.Close())
}

func live(log *telemetry.Log, budget time.Duration, open func(*telemetry.Log) (process, error)) error {
	signals := stopSignals()
	p, err := open(log)
	if err != nil {
		return usage(err)
	}
	if err := p.Start(); err != nil {
		return err
	}
	if err := supervise.NotifyReady(); err != nil {
		return err
	}
	var failed error
	select {
	case sig := <-signals:
		log.Announce("stopping", zap.String("signal", sig.String()), zap.Duration("budget", budget))
	case failed = <-p.Err():
	}
	return errors.Join(failed, stopInTime(p, budget, signals))
}

// sameOrder is within which a second signal repeats the first: podman's stop of
// several containers sends two, 150 ms apart, and means one.
const sameOrder = time.Second

// stopSignals are the orders to stop. They are heard until the process has ended,
// since one that comes as it ends would take its exit status from it.
func stopSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return signals
}

// stopInTime stops p by the end of budget or when a second signal comes.
func stopInTime(p process, budget time.Duration, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), budget)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(ctx) }() // Stop ends with ctx; the process ends with us if it does not
	const patience = 2 * time.Second
	ordered, late := time.Now(), time.After(budget+patience)
	for {
		select {
		case err := <-stopped:
			return err
		case sig := <-signals:
			if time.Since(ordered) >= sameOrder {
				return fmt.Errorf("ended by a second signal (%v) before the stop was complete", sig)
			}
		case <-late:
			return fmt.Errorf("did not stop within its budget of %v", budget)
		}
	}
}
