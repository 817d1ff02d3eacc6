package store

import (
	"container/list"
	"context"
	"maps"
	"slices"
	"time"
)

// entry is a file that the store knows of. Those of other spaces have no names.
type entry struct {
	path       string
	named      bool
	tenant, id string
	tokens     int
	size       int64
	created    time.Time
	lastUse    time.Time
	ttl        time.Duration // 0: never expires
	stuck      bool          // the system refused to remove it
	place      *list.Element
}

func (e *entry) expires() time.Time {
	if e.ttl == 0 {
		return time.Time{}
	}
	return e.lastUse.Add(e.ttl)
}

func (e *entry) expired(now time.Time) bool { return e.ttl > 0 && !now.Before(e.expires()) }

func (e *entry) describe() Info {
	return Info{Tenant: e.tenant, ID: e.id, Tokens: e.tokens, Bytes: e.size, Created: e.created, LastUse: e.lastUse, Expires: e.expires()}
}

// entries are all files, by path and by their last use. The store's mu guards them.
type entries struct {
	byPath  map[string]*entry
	recency list.List // the front was used last
	used    int64     // bytes on disk: of the entries, of what is being written, of what was put aside
}

func (t *entries) init() {
	t.byPath = map[string]*entry{}
	t.recency.Init()
}

// put adds an entry as the one that was used last, in the place of any other with its path.
func (t *entries) put(e *entry) {
	t.drop(t.byPath[e.path])
	t.byPath[e.path] = e
	e.place = t.recency.PushFront(e)
	t.used += e.size
}

// drop forgets an entry. It may be nil, or dropped before.
func (t *entries) drop(e *entry) {
	if e == nil || t.byPath[e.path] != e {
		return
	}
	delete(t.byPath, e.path)
	t.recency.Remove(e.place)
	t.used -= e.size
}

func (t *entries) touch(e *entry, now time.Time) {
	if t.byPath[e.path] == e && now.After(e.lastUse) {
		e.lastUse = now
		t.recency.MoveToFront(e.place)
	}
}

// sort puts the entries in the order of their last use.
func (t *entries) sort() {
	all := slices.SortedFunc(maps.Values(t.byPath), func(a, b *entry) int { return a.lastUse.Compare(b.lastUse) })
	for _, e := range all {
		t.recency.MoveToFront(e.place)
	}
}

// hold is the right to change the file of one path. There is one at a time.
type hold struct {
	path   string
	cancel context.CancelCauseFunc // tells the holder that it is in the way
	done   chan struct{}
}

// take waits for the right to change the file of a path. The context that it returns ends too
// when somebody else cannot wait.
func (s *Store) take(ctx context.Context, path string) (context.Context, *hold, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, nil, ErrClosed
		}
		other := s.holds[path]
		if other == nil {
			ctx, cancel := context.WithCancelCause(ctx)
			h := s.holdLocked(path)
			h.cancel = cancel
			s.mu.Unlock()
			return ctx, h, nil
		}
		s.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// tryTake returns nil if somebody else changes the file, or if the path holds another than e.
func (s *Store) tryTake(e *entry) *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.holds[e.path] != nil || s.entries.byPath[e.path] != e {
		return nil
	}
	return s.holdLocked(e.path)
}

func (s *Store) holdLocked(path string) *hold {
	h := &hold{path: path, cancel: func(error) {}, done: make(chan struct{})}
	s.holds[path] = h
	return h
}

func (s *Store) letGo(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holds, h.path)
	close(h.done)
	h.cancel(nil)
	_ = s.unlockIfDone() // a close of the lock's file; the lock is gone either way
}
