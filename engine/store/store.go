// Package store keeps agents on local disk, the warm tier: the token ids of each and the blocks
// of their keys and values, in one file an agent. What it serves is what was written, whole, for
// this model, this tenant and this agent; any other file is put aside and counted.
//
// Files are written to a temporary name, synced and renamed, so that a crash leaves the old one
// or the new one. All files together stay within a quota, from which the agent that was used
// longest ago goes first. README.md describes the format and the measurements behind it.
//
// Read: store (open, look up, close), names (of folders and files, keys), head and layout (of a
// file), seal (checksum or encryption), index (at start), write, read, copy
// (from and to another store), remove (delete, expire,
// evict), quarantine, entries (what is where, who changes what), queue (the background writer),
// reasons and metrics (what went wrong), files (the system's calls).
package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Geometry is the shape of the keys and values of a model.
type Geometry struct {
	Layers      int
	KVDim       int // elements of the keys (or of the values) of one token in one layer
	BlockTokens int // tokens that a block holds
	BlockBytes  int // bytes that a block takes, over all layers
}

// Options say whose agents a store keeps and within what bounds.
type Options struct {
	Fingerprint [32]byte // of the model's weights
	KVType      string   // "f16", "q8": how the elements of a block are stored
	Geometry    Geometry

	Quota   int64            // bytes of all files under the folder (--cache-disk); 0: no bound
	TTL     time.Duration    // after its last use an agent is deleted (--cache-ttl); 0: never
	Key     []byte           // 32 bytes to encrypt with (--cache-key-file); nil: files are plain
	Now     func() time.Time // nil: time.Now
	Metrics *Metrics         // nil: counted for nobody

	files fileSystem // nil: the real one
}

// Info describes an agent on disk.
type Info struct {
	Tenant, ID string
	Tokens     int
	Bytes      int64 // of its file
	Created    time.Time
	LastUse    time.Time
	Expires    time.Time // zero: never
}

// Store is an open folder of agents. Its methods may be called by many goroutines; all but Get,
// List, Used and Close wait on the disk.
type Store struct {
	dir, space string
	opt        Options
	ring       keyring
	files      fileSystem
	metrics    *Metrics
	now        func() time.Time
	scratch    sync.Pool // *[]byte with room for a block and its seal
	report     Report

	room sync.Mutex // one goroutine evicts at a time

	mu      sync.Mutex
	lock    *os.File // keeps other processes out
	closed  bool
	entries entries
	holds   map[string]*hold // by path: who changes which file
	folders map[string]bool  // that exist
	shelf   []quarantined    // oldest first
}

var (
	// ErrNotFound says that the agent is not on disk.
	ErrNotFound = errors.New("the agent is not on disk")
	// ErrDeleted says that a write was given up since its agent was deleted meanwhile.
	ErrDeleted = errors.New("the agent was deleted meanwhile")
	// ErrClosed says that the store or the queue was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrLocked says that another process uses the folder.
	ErrLocked = errors.New("another process uses it")
)

var kvTypeNames = regexp.MustCompile(`^[a-z0-9_]{1,8}$`)

func (o *Options) validate() error {
	g := o.Geometry
	switch {
	case !kvTypeNames.MatchString(o.KVType):
		return fmt.Errorf("%q is no KV type", o.KVType)
	case !g.possible():
		return fmt.Errorf("%+v is no shape of keys and values", g)
	case o.Quota < 0:
		return fmt.Errorf("--cache-disk=%d is negative", o.Quota)
	case o.TTL < 0:
		return fmt.Errorf("--cache-ttl=%s is negative", o.TTL)
	case o.Key != nil && len(o.Key) != keySize:
		return fmt.Errorf("--cache-key-file holds a key of %d bytes, not of %d", len(o.Key), keySize)
	}
	return nil
}

// Open opens a folder of agents, which is made if it is missing, and indexes the files in it.
func Open(dir string, o Options) (*Store, error) {
	s, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open the agents' folder %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, opt: o, files: o.files, metrics: o.Metrics, now: o.Now, holds: map[string]*hold{}, folders: map[string]bool{}}
	if s.files == nil {
		s.files = disk{}
	}
	if s.metrics == nil {
		s.metrics = uncounted()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.ring, err = newKeyring(o.Key); err != nil {
		return nil, err
	}
	s.opt.Key = nil // what is needed was derived from it
	s.entries.init()
	s.space = filepath.Join(dir, s.ring.spaceName(&s.opt))
	s.scratch.New = func() any {
		b := make([]byte, o.Geometry.BlockBytes+tagSize)
		return &b
	}
	if err := s.makeFolders(); err != nil {
		return nil, err
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.index(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// makeFolders makes the folder and, in it, those for this model's agents and for bad files.
func (s *Store) makeFolders() error {
	for _, path := range []string{s.dir, s.space, s.shelfFolder()} {
		if err := s.files.MkdirAll(path); err != nil {
			return err
		}
		if err := s.files.SyncFolder(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

// takeLock keeps other processes out until the store is closed or this process ends.
func (s *Store) takeLock() error {
	path := filepath.Join(s.dir, ".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrLocked
		}
		return fmt.Errorf("cannot lock %s: %w", path, err)
	}
	s.lock = f
	return nil
}

// Close gives up what is being written and lets other processes use the folder, as soon as the
// last call that changes a file has returned. Open readers go on.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	for _, h := range s.holds {
		h.cancel(ErrClosed)
	}
	return s.unlockIfDone()
}

// unlockIfDone is called with s.mu held.
func (s *Store) unlockIfDone() error {
	if !s.closed || len(s.holds) > 0 || s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// Get returns what is known of an agent on disk without reading it.
func (s *Store) Get(tenant, id string) (Info, bool) {
	path := s.path(tenant, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries.byPath[path]
	if e == nil || e.expired(s.now()) {
		return Info{}, false
	}
	return e.describe(), true
}

// List returns the agents on disk, by tenant and id.
func (s *Store) List() []Info {
	now := s.now()
	s.mu.Lock()
	list := make([]Info, 0, len(s.entries.byPath))
	for _, e := range s.entries.byPath {
		if e.named && !e.expired(now) {
			list = append(list, e.describe())
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Used returns the bytes that the files under the folder take, those being written included.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.used
}

// Report returns what Open found.
func (s *Store) Report() Report { return s.report }
