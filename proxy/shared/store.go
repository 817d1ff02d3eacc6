// Package shared keeps what keys have used of their limits in a Redis or Valkey, so
// that several proxies hold a key to its limits together.
//
// A decision is one script in the store, by the store's clock: it looks at all limits
// of the key and takes from all or from none, as package limit does for one proxy.
// When the store is away, decisions say so, and the caller decides by itself until it
// is back.
//
// Read: store, admit, settle.
package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// patience is how long a decision may take; the store is on the request path.
	patience = 100 * time.Millisecond
	// retryAfter is how long a store that was away is left alone.
	retryAfter = time.Second
)

// Store is a connection to the shared limits.
type Store struct {
	client *redis.Client
	report func(up bool, why error)

	up      atomic.Bool
	tryAt   atomic.Int64 // Unix nanoseconds: not before it, while the store is away
	dropped atomic.Uint64

	settlements chan settlement
	worker      sync.WaitGroup
	stop        context.CancelFunc
}

// Open prepares the connection. The store need not be there yet. report is told of
// each change, and of the first state, by the request that noticed.
func Open(url string, report func(up bool, why error)) (*Store, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("it is no address such as redis://:PASSWORD@HOST:6379/0, rediss://… or unix:///PATH") // without the password
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(silence{})
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{client: redis.NewClient(o), report: report, settlements: make(chan settlement, mostSettlements), stop: stop}
	s.worker.Go(func() { s.settleLoop(ctx) })
	return s, nil
}

// silence is the library's logger: what it would say is in our own log.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Check asks whether the store is there, so that its absence is known from the start.
func (s *Store) Check() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s.heard(s.client.Ping(ctx).Err(), true)
}

// Up reports whether the store answered last: semantic_limits_store_up.
func (s *Store) Up() bool { return s.up.Load() }

// Dropped counts settlements that the store did not get:
// semantic_limits_store_dropped_total.
func (s *Store) Dropped() uint64 { return s.dropped.Load() }

// Close settles what is pending, if the store is there, and ends the connection.
func (s *Store) Close() error {
	s.stop()
	s.worker.Wait()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("cannot close the connection to --limits-store: %w", err)
	}
	return nil
}

// mayTry reports whether the store should be asked: always while it is up, and by one
// request a second while it is away.
func (s *Store) mayTry(now time.Time) bool {
	if s.up.Load() {
		return true
	}
	at := s.tryAt.Load()
	return now.UnixNano() >= at && s.tryAt.CompareAndSwap(at, now.Add(retryAfter).UnixNano())
}

// heard takes note of how a command went.
func (s *Store) heard(err error, first bool) {
	if err != nil {
		s.tryAt.Store(time.Now().Add(retryAfter).UnixNano())
	}
	if s.up.Swap(err == nil) != (err == nil) || first {
		s.report(err == nil, err)
	}
}
