package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

// Config says where the keys are.
type Config struct {
	File     string // the key file; "" for none
	Optional bool   // the file need not be there (yet)
	Environ  string // the value of Variable

	Table  *limit.Table // of the limits; nobody else may Set it
	Report func(Report) // is told of each reading after the first one; nil for nobody

	Every time.Duration // how often to look whether the file has changed; 0 is a second
}

// Report tells of a reading of the file.
type Report struct {
	Keys    int    // that are in force now
	Err     error  // why what is on disk was refused; nil if it is in force
	Warning string // what is not good about the file although it was taken
}

// labelled is how many keys have a label of their own in metrics, and other is that
// of the rest.
const (
	labelled = 50
	other    = "other"
)

// Store holds the keys that are in force.
type Store struct {
	cfg      Config
	set      atomic.Pointer[Set]
	required atomic.Bool
	rejected atomic.Pointer[Report] // the last one, if it has an error

	mu      sync.Mutex // of readings
	seen    version    // of the file, when it was read last
	hadFile bool       // there was a key file once
	environ []Entry
	labels  map[string]string // of names; they stay, so that no counter runs backwards
}

// Open reads the keys for the first time. Its Report comes back, since there may be
// something to warn of.
func Open(cfg Config) (*Store, Report, error) {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	environ, err := parseEnviron(cfg.Environ)
	if err != nil {
		return nil, Report{}, err
	}
	s := &Store{cfg: cfg, environ: environ, labels: map[string]string{}}
	if len(environ) > 0 {
		s.required.Store(true)
	}
	r := s.read()
	if r.Err != nil {
		return nil, r, r.Err
	}
	return s, r, nil
}

// Lookup finds who presents a key; of nobody it is nil, and why is said. It allocates
// nothing.
func (s *Store) Lookup(presented []byte, now time.Time) (*Identity, Reason) {
	return s.set.Load().lookup(presented, now)
}

// LookupAgain is Lookup for a connection that remembers the key that it presented
// before. What was revoked or has expired since is refused all the same.
func (s *Store) LookupAgain(m *Memory, presented []byte, now time.Time) (*Identity, Reason) {
	return s.set.Load().again(m, presented, now)
}

// Reload reads the file now, whether it has changed or not. If it is refused, what
// was read before stays in force.
func (s *Store) Reload() error { return s.reload().Err }

func (s *Store) reload() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.read()
	if s.cfg.Report != nil && !errors.Is(r.Err, errChanging) {
		s.cfg.Report(r)
	}
	return r
}

// Loaded counts the keys that are in force, with expired and revoked ones:
// semantic_keys_loaded.
func (s *Store) Loaded() int { return len(s.set.Load().identities) }

// Rejected is why the file on disk is not what is in force; nil if it is:
// semantic_key_file_rejected.
func (s *Store) Rejected() error {
	if r := s.rejected.Load(); r != nil {
		return r.Err
	}
	return nil
}

// Required says whether requests need a key: from the moment on when there was a key
// file or a key, and for good, so that nobody opens the door by emptying a file.
func (s *Store) Required() bool { return s.required.Load() }

// Identities lists who is known, in the order of the file; those of the environment
// come last.
func (s *Store) Identities() []Identity { return s.set.Load().identities }

// read reads the file and puts it in force, unless it is bad.
func (s *Store) read() Report {
	r, err := s.replace()
	switch {
	case errors.Is(err, errChanging):
	case err != nil:
		s.rejected.Store(&Report{Err: err})
	default:
		s.rejected.Store(nil)
	}
	r.Err = err
	if set := s.set.Load(); set != nil {
		r.Keys = len(set.identities)
	}
	return r
}

func (s *Store) replace() (Report, error) {
	var r Report
	entries, err := s.readFile(&r)
	if err != nil {
		return r, err
	}
	entries = append(entries, s.environ...)
	if err := checkUnique(entries); err != nil {
		return r, err
	}
	s.set.Store(newSet(entries, s.identities(entries, time.Now())))
	return r, nil
}

func (s *Store) readFile(r *Report) ([]Entry, error) {
	if s.cfg.File == "" {
		return nil, nil
	}
	f, err := readFile(s.cfg.File)
	if errors.Is(err, errChanging) {
		return nil, err
	}
	s.seen = f.version
	if s.cfg.Optional && errors.Is(err, fs.ErrNotExist) && !s.hadFile {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read --key-file: %w", err)
	}
	s.required.Store(true)
	s.hadFile = true
	r.Warning = f.warning()
	d, err := parseWhole(s.cfg.File, f.data)
	if err != nil {
		return nil, fmt.Errorf("cannot use --key-file: %w", err)
	}
	return d.entries, nil
}

// identities makes those of checked entries, with their limits.
func (s *Store) identities(entries []Entry, now time.Time) []Identity {
	named := make([]limit.Named, len(entries))
	for i, e := range entries {
		named[i] = limit.Named{Name: e.Name, Limits: e.Limits}
	}
	limits, out := s.cfg.Table.Set(now, named), make([]Identity, len(entries))
	for i, e := range entries {
		out[i] = Identity{Key: e.Name, Tenant: e.Tenant, Label: s.label(e.Name), Admin: e.Admin, Limits: e.Limits, Limit: limits[i]}
	}
	return out
}

func (s *Store) label(name string) string {
	label, known := s.labels[name]
	if !known {
		if len(s.labels) >= labelled {
			return other
		}
		label = name
		s.labels[name] = name
	}
	return label
}
