package store

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of the quarantine. The oldest file goes first; the quota holds besides.
const (
	maxShelved      = 32
	maxShelvedBytes = 1 << 30
)

// quarantined is a bad file that was put aside, to be looked at.
type quarantined struct {
	path  string
	size  int64
	when  time.Time
	stuck bool // the system refused to remove it
}

var shelvedNames = regexp.MustCompile(`^[0-9a-f]{16}-[a-z_]+-[0-9a-f]{64}$`)

// quarantine puts the file of an entry aside, unless it is being replaced anyway.
func (s *Store) quarantine(e *entry, r Reason) {
	hold := s.tryTake(e)
	if hold == nil {
		return
	}
	defer s.letGo(hold)
	s.mu.Lock()
	s.entries.drop(e)
	s.mu.Unlock()
	s.putAside(e.path, e.size, r)
}

// putAside moves a bad file to the quarantine, from where nothing is ever served, and counts it.
// If the system refuses, the file is removed. The rename is not synced: should a power cut undo
// it, the file is found to be bad again.
func (s *Store) putAside(path string, size int64, r Reason) {
	s.metrics.quarantined[r].Inc()
	now := s.now()
	name := fmt.Sprintf("%016x-%s-%s", now.UnixNano(), r, strings.TrimSuffix(filepath.Base(path), agentSuffix))
	aside := filepath.Join(s.shelfFolder(), name)
	if err := s.files.Rename(path, aside); err != nil {
		_ = s.files.Remove(path) // if this fails too, the next start finds it again
		return
	}
	s.mu.Lock()
	s.shelf = append(s.shelf, quarantined{path: aside, size: size, when: now})
	s.entries.used += size
	s.mu.Unlock()
	for s.shelfIsFull() && s.removeOldestFromShelf() { // one after the other
	}
}

func (s *Store) shelfIsFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes int64
	for _, q := range s.shelf {
		bytes += q.size
	}
	return len(s.shelf) > maxShelved || bytes > maxShelvedBytes
}

// scanShelf lists what earlier runs put aside.
func (s *Store) scanShelf() error {
	files, err := s.files.ReadDir(s.shelfFolder())
	if err != nil {
		return err
	}
	for _, f := range files {
		if !f.Type().IsRegular() || !shelvedNames.MatchString(f.Name()) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue
		}
		s.shelf = append(s.shelf, shelved(s.shelfFolder(), info))
		s.entries.used += info.Size()
	}
	slices.SortFunc(s.shelf, func(a, b quarantined) int { return a.when.Compare(b.when) })
	s.sweepShelf(s.now())
	return nil
}

func shelved(folder string, info fs.FileInfo) quarantined {
	nanoseconds, _ := strconv.ParseInt(info.Name()[:16], 16, 64) // the name was matched before
	return quarantined{path: filepath.Join(folder, info.Name()), size: info.Size(), when: time.Unix(0, nanoseconds)}
}

// removeFromShelf removes what was put aside of an agent, or all for "", and returns how many
// files there were.
func (s *Store) removeFromShelf(agent string) (int, error) {
	return s.takeFromShelf(func(q quarantined) bool { return strings.HasSuffix(q.path, agent) })
}

// sweepShelf removes what was put aside longer ago than agents are kept.
func (s *Store) sweepShelf(now time.Time) {
	if s.opt.TTL > 0 {
		_, _ = s.takeFromShelf(func(q quarantined) bool { return now.Sub(q.when) >= s.opt.TTL })
	}
}

func (s *Store) removeOldestFromShelf() bool {
	left := 1
	n, _ := s.takeFromShelf(func(q quarantined) bool {
		if !q.stuck {
			left--
		}
		return !q.stuck && left >= 0
	})
	return n > 0
}

// takeFromShelf removes the files that match and returns how many.
func (s *Store) takeFromShelf(match func(quarantined) bool) (int, error) {
	var taken []quarantined
	s.mu.Lock()
	s.shelf = slices.DeleteFunc(s.shelf, func(q quarantined) bool {
		if match(q) {
			taken = append(taken, q)
			return true
		}
		return false
	})
	s.mu.Unlock()
	removed, failed := 0, error(nil)
	for _, q := range taken {
		err := s.files.Remove(q.path)
		s.mu.Lock()
		if err == nil || missing(err) {
			removed++
			s.entries.used -= q.size
		} else {
			q.stuck, failed = true, err
			s.shelf = append(s.shelf, q)
		}
		s.mu.Unlock()
	}
	return removed, failed
}
