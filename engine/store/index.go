package store

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Report is what Open found.
type Report struct {
	Agents      int   // that can be served
	Others      int   // files of other models, keys or versions, which were left alone
	Bytes       int64 // of all files
	Expired     int   // deleted, since their time was up
	Evicted     int   // deleted, since the quota was smaller than what was found
	Temporary   int   // torn writes that were removed
	Quarantined int   // bad files that were put aside
	Unreadable  int   // files that the system would not read; they are left alone
	Took        time.Duration
}

// found is a file that the scan came across, and then what it was seen to be.
type found struct {
	path  string
	name  fs.DirEntry
	other bool   // of another space
	entry *entry // if only its path is known, the file could not be read
	err   error
}

// index reads the names of all files and the heads of those of this space.
func (s *Store) index() error {
	start := time.Now()
	if err := s.scanShelf(); err != nil {
		return err
	}
	all, err := s.scan()
	if err != nil {
		return err
	}
	// A folder that a crash kept from being synced is taken for granted from here on.
	if err := s.files.SyncFolder(s.space); err != nil {
		return err
	}
	s.look(all)
	now := s.now()
	for _, f := range all {
		s.enter(f, now)
	}
	s.entries.sort()
	if err := s.makeRoom(0, ""); err != nil {
		return err
	}
	s.report.Bytes = s.entries.used
	s.report.Took = time.Since(start)
	return nil
}

// scan lists the files of agents and removes what crashes left. A folder that cannot be listed
// is an error: files that nobody counts would outgrow the quota.
func (s *Store) scan() ([]*found, error) {
	spaces, err := s.files.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []*found
	for _, space := range spaces {
		if !space.IsDir() || !spaceNames.MatchString(space.Name()) {
			continue // a lost+found, or anything else that is not ours
		}
		path := filepath.Join(s.dir, space.Name())
		tenants, err := s.files.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, tenant := range tenants {
			if !tenant.IsDir() || !hashNames.MatchString(tenant.Name()) {
				continue
			}
			files, err := s.scanTenant(filepath.Join(path, tenant.Name()), path != s.space)
			if err != nil {
				return nil, err
			}
			all = append(all, files...)
		}
	}
	return all, nil
}

func (s *Store) scanTenant(path string, other bool) ([]*found, error) {
	files, err := s.files.ReadDir(path)
	if err != nil {
		return nil, err
	}
	s.folders[path] = true
	var all []*found
	for _, f := range files {
		name, suffix := strings.CutSuffix(f.Name(), agentSuffix)
		switch {
		case !f.Type().IsRegular():
		case suffix && hashNames.MatchString(name):
			all = append(all, &found{path: filepath.Join(path, f.Name()), name: f, other: other})
		case strings.HasSuffix(f.Name(), temporarySuffix):
			if err := s.files.Remove(filepath.Join(path, f.Name())); err != nil && !missing(err) {
				return nil, err
			}
			s.report.Temporary++
		}
	}
	return all, nil
}

// lookers is how many heads are read at once: enough to keep a disk busy whose cache is cold.
const lookers = 16

// look reads the heads.
func (s *Store) look(all []*found) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(lookers, len(all)) {
		wg.Go(func() {
			buf := make([]byte, maxHead)
			for i := next.Add(1) - 1; int(i) < len(all); i = next.Add(1) - 1 {
				f := all[i]
				f.entry, f.err = s.lookAt(f, buf)
			}
		})
	}
	wg.Wait()
}

// lookAt reads no more than the head of a file, and of other spaces' files not even that.
func (s *Store) lookAt(f *found, buf []byte) (*entry, error) {
	e := &entry{path: f.path, ttl: s.opt.TTL}
	info, err := f.name.Info()
	if err != nil {
		return e, err
	}
	e.size, e.lastUse = info.Size(), info.ModTime()
	if f.other {
		return e, nil
	}
	r, err := s.files.Open(f.path)
	if err != nil {
		return e, err
	}
	defer r.Close()
	n, err := r.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return e, err
	}
	h, _, _, err := s.check(buf[:n], f.path, info.Size())
	if err != nil {
		return e, err
	}
	e.fill(h, s.opt.TTL, info)
	return e, nil
}

// check decodes the head at the beginning of a file and says whether the file is what its name
// promises, as far as this can be seen without its body.
func (s *Store) check(b []byte, path string, size int64) (*head, *sealer, layout, error) {
	h, sealer, err := decodeHead(b, &s.ring)
	if err != nil {
		return nil, nil, layout{}, err
	}
	switch {
	case h.fingerprint != s.opt.Fingerprint || h.kvType != s.opt.KVType || h.geometry != s.opt.Geometry:
		err = bad(ForeignModel, "it was written for another model, KV type or geometry")
	case !s.belongs(h, path):
		err = bad(ForeignTenant, "it was written for another tenant or agent")
	case size != h.layout(sealer.size()).size:
		err = bad(Torn, "its length is not what its head says")
	}
	return h, sealer, h.layout(sealer.size()), err
}

// fill takes over what a head says. The file's own time moves on when the agent is read.
func (e *entry) fill(h *head, ttl time.Duration, info fs.FileInfo) {
	e.named, e.tenant, e.id, e.tokens = true, h.tenant, h.id, h.tokens
	e.created, e.lastUse = time.Unix(0, h.created), time.Unix(0, h.lastUse)
	if info.ModTime().After(e.lastUse) {
		e.lastUse = info.ModTime()
	}
	e.ttl = shorter(ttl, h.ttl())
}

// ttl returns how long after its last use the agent was to be deleted when it was written.
func (h *head) ttl() time.Duration {
	if h.expires == 0 {
		return 0
	}
	return time.Duration(h.expires - h.lastUse)
}

// shorter returns the shorter of two times; 0 is for ever.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// enter takes a file into the table, or puts it where it belongs.
func (s *Store) enter(f *found, now time.Time) {
	fileErr, isBad := asFileError(f.err)
	switch {
	case isBad:
		s.putAside(f.path, f.entry.size, fileErr.Reason)
		s.report.Quarantined++
	case f.err != nil: // it counts, and may be evicted
		s.entries.put(f.entry)
		s.report.Unreadable++
	case f.entry.expired(now) && s.files.Remove(f.path) == nil:
		s.metrics.expired.Inc()
		s.report.Expired++
	default:
		if f.entry.lastUse.After(now) { // the clock was wrong then or is now
			f.entry.lastUse = now
		}
		s.entries.put(f.entry)
		if f.other {
			s.report.Others++
		} else {
			s.report.Agents++
		}
	}
}
