package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Delete removes an agent for good: its file, those that it has under other models (of the same
// key), and what was put aside of it. A write of it that is under way is given up; one that waits
// in a Queue must be withdrawn there first. It returns ErrNotFound if there was nothing.
func (s *Store) Delete(ctx context.Context, tenant, id string) error {
	name := filepath.Join(s.ring.tenantName(tenant), s.ring.agentName(tenant, id)+agentSuffix)
	paths := []string{filepath.Join(s.space, name)}
	s.mu.Lock()
	for path := range s.entries.byPath {
		if strings.HasSuffix(path, name) && path != paths[0] {
			paths = append(paths, path)
		}
	}
	s.mu.Unlock()
	shelved, err := s.removeFromShelf(s.ring.agentName(tenant, id))
	if err != nil {
		return fmt.Errorf("cannot delete the agent from the quarantine: %w", err)
	}
	removed := shelved > 0
	for _, path := range paths {
		ok, err := s.delete(ctx, path)
		if err != nil {
			return fmt.Errorf("cannot delete the agent from disk: %w", err)
		}
		removed = removed || ok
	}
	if !removed {
		return ErrNotFound
	}
	return nil
}

// delete removes the file of a path and says whether there was one.
func (s *Store) delete(ctx context.Context, path string) (bool, error) {
	s.mu.Lock()
	if h := s.holds[path]; h != nil {
		h.cancel(ErrDeleted)
	}
	s.mu.Unlock()
	_, hold, err := s.take(ctx, path)
	if err != nil {
		return false, err
	}
	defer s.letGo(hold)
	err = s.files.Remove(path)
	if err != nil && !missing(err) {
		return false, err
	}
	s.mu.Lock()
	s.entries.drop(s.entries.byPath[path])
	s.mu.Unlock()
	if err != nil {
		return false, nil
	}
	return true, s.files.SyncFolder(filepath.Dir(path))
}

// Clear deletes every file, those of other models and of the quarantine included, and returns how
// many agents there were.
func (s *Store) Clear(ctx context.Context) (int, error) {
	s.mu.Lock()
	paths := make([]string, 0, len(s.entries.byPath))
	for path := range s.entries.byPath {
		paths = append(paths, path)
	}
	s.mu.Unlock()
	if _, err := s.removeFromShelf(""); err != nil {
		return 0, fmt.Errorf("cannot clear the quarantine: %w", err)
	}
	removed := 0
	for _, path := range paths {
		ok, err := s.delete(ctx, path)
		if err != nil {
			return removed, fmt.Errorf("cannot clear the agents' folder: %w", err)
		}
		if ok {
			removed++
		}
	}
	return removed, nil
}

// Sweep deletes what has expired and returns how many files. Expired agents are never served,
// swept or not.
func (s *Store) Sweep() int {
	now := s.now()
	s.sweepShelf(now)
	var expired []*entry
	s.mu.Lock()
	for _, e := range s.entries.byPath {
		if e.expired(now) && !e.stuck {
			expired = append(expired, e)
		}
	}
	s.mu.Unlock()
	swept := 0
	for _, e := range expired {
		if s.evict(e) {
			s.metrics.expired.Inc()
			swept++
		}
	}
	return swept
}

// evict removes a file, unless somebody is changing it or the system refuses.
func (s *Store) evict(e *entry) bool {
	hold := s.tryTake(e)
	return hold != nil && s.evictHeld(e, hold)
}

func (s *Store) evictHeld(e *entry, hold *hold) bool {
	defer s.letGo(hold)
	return s.unlink(e)
}

// unlink removes the file of an entry whose path is held.
func (s *Store) unlink(e *entry) bool {
	err := s.files.Remove(e.path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && !missing(err) {
		e.stuck = true
		return false
	}
	s.entries.drop(e)
	return true
}

// makeRoom sets so many bytes of the quota aside for the file of a path, which is held. What was
// put aside goes first, then the files that were used longest ago, and the path's own old file
// only if nothing else is left.
func (s *Store) makeRoom(size int64, path string) error {
	s.room.Lock()
	defer s.room.Unlock()
	if size > s.opt.Quota && s.opt.Quota > 0 {
		return &WriteError{Reason: Quota, Err: fmt.Errorf("it takes %d bytes: --cache-disk=%d is less", size, s.opt.Quota)}
	}
	for {
		s.mu.Lock()
		if s.opt.Quota == 0 || s.entries.used+size <= s.opt.Quota {
			s.entries.used += size
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		if !s.removeOldestFromShelf() && !s.evictOldest(path) {
			return &WriteError{Reason: Quota, Err: fmt.Errorf("it takes %d bytes: --cache-disk=%d has no room and nothing can be evicted", size, s.opt.Quota)}
		}
	}
}

// evictOldest evicts the file that was used longest ago and that nobody is changing.
func (s *Store) evictOldest(own string) bool {
	for {
		s.mu.Lock()
		var victim *entry
		for place := s.entries.recency.Back(); place != nil && victim == nil; place = place.Prev() {
			if e := place.Value.(*entry); !e.stuck && s.holds[e.path] == nil {
				victim = e
			}
		}
		old, closed := s.entries.byPath[own], s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return false
		case victim != nil && s.evict(victim):
			s.metrics.evicted.Inc()
			return true
		case victim == nil:
			return old != nil && s.unlink(old)
		}
	}
}
