package shared

import (
	"context"
	_ "embed"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed settle.lua
var settleSource string

var settleScript = redis.NewScript(settleSource)

const (
	mostSettlements = 8192 // that wait for the store
	settledAtOnce   = 128
	// unbudgeted is the reservation of a request that took no tokens.
	unbudgeted = -1
)

// settlement ends an admitted request in the store.
type settlement struct {
	name, id                  string
	perMinute, reserved, used int64
}

// Settle ends the request with the tokens that it has used. It does not wait: what
// the store does not get stays reserved until the budget has filled up again.
func (g *Grant) Settle(used int64) {
	s := g.store
	if s == nil {
		return
	}
	g.store, g.s.used = nil, max(0, used)
	select {
	case s.settlements <- g.s:
	default:
		s.dropped.Add(1)
	}
}

// settleLoop sends settlements to the store, those that wait together.
func (s *Store) settleLoop(ctx context.Context) {
	batch := make([]settlement, 0, settledAtOnce)
	for {
		select {
		case <-ctx.Done():
			s.settleRest(batch[:0])
			return
		case first := <-s.settlements:
			batch = s.collect(append(batch[:0], first))
		}
		s.settle(batch)
	}
}

func (s *Store) collect(batch []settlement) []settlement {
	for len(batch) < cap(batch) {
		select {
		case next := <-s.settlements:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// settleRest is the end's: it stops at the first that the store does not take.
func (s *Store) settleRest(batch []settlement) {
	for {
		if batch = s.collect(batch[:0]); len(batch) == 0 || !s.settle(batch) {
			return
		}
	}
}

func (s *Store) settle(batch []settlement) bool {
	if !s.mayTry(time.Now()) {
		s.dropped.Add(uint64(len(batch)))
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, b := range batch {
			names := namesOf(b.name)
			settleScript.Eval(ctx, p, names[1:], b.perMinute, b.reserved, b.used, b.id)
		}
		return nil
	})
	s.heard(err, false)
	if err != nil {
		s.dropped.Add(uint64(len(batch)))
	}
	return err == nil
}
