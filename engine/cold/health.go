package cold

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/objectstore"
)

// health is whether the store answers. While it does not, no turn asks it; the keeper alone
// does, less and less often.
type health struct {
	address string
	away    atomic.Int64 // since when, in ns; 0: it answers

	mu     sync.Mutex         // is never held while the store is waited for
	bucket objectstore.Bucket // nil until it could be opened
	probe  time.Time          // when it is asked again

	// The keeper's own.
	proved  bool // its conditional writes hold
	backoff time.Duration
	told    string // the error that the log was told
}

const maxBackoff = 30 * time.Second

func (h *health) open(address string) {
	h.address = address
	h.away.Store(time.Now().UnixNano())
}

func (h *health) up() bool { return h.away.Load() == 0 }

func (h *health) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bucket == nil {
		return nil
	}
	return h.bucket.Close()
}

// store returns the bucket while it answers.
func (t *Tier) store() (objectstore.Bucket, error) {
	if !t.health.up() {
		return nil, ErrAway
	}
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	return t.health.bucket, nil
}

// failed notes that a call failed for a reason that is the store's.
func (t *Tier) failed(err error) {
	if t.ctx.Err() != nil {
		return // we gave it up ourselves
	}
	h := &t.health
	h.mu.Lock()
	turned := h.away.CompareAndSwap(0, time.Now().UnixNano())
	if turned {
		h.probe = time.Now().Add(beat)
	}
	h.mu.Unlock()
	if turned {
		t.opt.Log.Warn("the cold store does not answer; agents stay on this pod until it does", zap.Error(err))
	}
}

// doubt asks a store that failed at something whether it answers at all.
func (t *Tier) doubt(err error) {
	b, away := t.store()
	if away != nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, callTime)
	defer cancel()
	if b.Ping(ctx) != nil {
		t.failed(err)
	}
}

// check asks a store that did not answer.
func (t *Tier) check() {
	h := &t.health
	h.mu.Lock()
	due := !h.up() && !time.Now().Before(h.probe)
	h.mu.Unlock()
	if !due {
		return
	}
	if err := t.ask(); err != nil {
		h.backoff = min(max(2*h.backoff, beat), maxBackoff)
		h.mu.Lock()
		h.probe = time.Now().Add(h.backoff)
		h.mu.Unlock()
		if h.told != err.Error() && t.ctx.Err() == nil {
			h.told = err.Error()
			t.opt.Log.Warn("the cold store cannot be used; agents stay on this pod until it can", zap.Error(err))
		}
		return
	}
	h.told, h.backoff = "", 0
	h.away.Store(0)
	t.opt.Log.Info("the cold store answers", zap.String("holder", t.holder))
}

// ask opens the store if that was not done, pings it, and once proves that of two who create
// one object the second is refused. A store that would let both write is never used.
func (t *Tier) ask() error {
	ctx, cancel := context.WithTimeout(t.ctx, callTime)
	defer cancel()
	h := &t.health
	if h.bucket == nil { // set here alone
		b, err := objectstore.Open(ctx, h.address)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.bucket = b
		h.mu.Unlock()
	}
	if err := h.bucket.Ping(ctx); err != nil {
		return err
	}
	if h.proved {
		return nil
	}
	key := rootFolder + "proof/" + t.holder
	if err := h.bucket.Create(ctx, key, strings.NewReader("1")); err != nil && !errors.Is(err, objectstore.ErrExists) {
		return fmt.Errorf("cannot write: %w", err)
	}
	err := h.bucket.Create(ctx, key, strings.NewReader("2"))
	if err == nil {
		err = errors.New("it overwrites objects that it was told not to (no conditional writes): two pods could write one agent")
	} else if errors.Is(err, objectstore.ErrExists) {
		err = nil
	}
	removed := h.bucket.Remove(ctx, key)
	h.proved = err == nil && removed == nil
	return errors.Join(err, removed)
}
