package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mortal counts the calls of a file system and, at one of them, fails or lets the process die:
// of a write, some bytes may be done before, and after its death nothing is done any more.
type mortal struct {
	fileSystem
	mu     sync.Mutex
	calls  int
	writes map[int]int // bytes of each write, by the number of its call
	at     int         // the call that fails; -1: none
	bytes  int         // of it, if it is a write, done before
	err    error       // what it fails with; errDead: and all that follow
}

var errDead = errors.New("the process is dead")

func newMortal(under fileSystem, at, bytes int, err error) *mortal {
	return &mortal{fileSystem: under, writes: map[int]int{}, at: at, bytes: bytes, err: err}
}

// call returns the error of the call that is about to be made.
func (m *mortal) call() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.calls
	m.calls++
	if n == m.at || m.at >= 0 && n > m.at && errors.Is(m.err, errDead) {
		return m.err
	}
	return nil
}

func (m *mortal) dead() bool { return m.at >= 0 && m.calls > m.at && errors.Is(m.err, errDead) }

func (m *mortal) MkdirAll(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.fileSystem.MkdirAll(path)
}

func (m *mortal) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	return m.fileSystem.ReadDir(path)
}

func (m *mortal) Open(path string) (file, error) { return m.wrap(path, m.fileSystem.Open) }

func (m *mortal) Create(path string) (file, error) { return m.wrap(path, m.fileSystem.Create) }

func (m *mortal) wrap(path string, open func(string) (file, error)) (file, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortal) Rename(from, to string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.fileSystem.Rename(from, to)
}

func (m *mortal) Remove(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.fileSystem.Remove(path)
}

func (m *mortal) SetTime(path string, t time.Time) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.fileSystem.SetTime(path, t)
}

func (m *mortal) SyncFolder(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.fileSystem.SyncFolder(path)
}

type mortalFile struct {
	file
	m *mortal
}

func (f *mortalFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	n := f.m.calls
	f.m.writes[n] = len(b)
	f.m.mu.Unlock()
	if err := f.m.call(); err != nil {
		if n == f.m.at {
			done, _ := f.file.Write(b[:min(f.m.bytes, len(b))])
			return done, err
		}
		return 0, err
	}
	return f.file.Write(b)
}

func (f *mortalFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.m.call(); err != nil {
		return 0, err
	}
	return f.file.ReadAt(b, at)
}

func (f *mortalFile) Sync() error {
	if err := f.m.call(); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *mortalFile) Stat() (fs.FileInfo, error) {
	if err := f.m.call(); err != nil {
		return nil, err
	}
	return f.file.Stat()
}

func (f *mortalFile) Close() error {
	err := f.m.call()
	_ = f.file.Close() // the system closes what a dead process had open
	return err
}

// history is what may be on disk of each agent: its states, and absent for none.
type history map[string][]int

const absent = -1

// untouched is what the prologue leaves.
func untouched() history {
	return history{"kept": {1}, "replaced": {1}, "deleted": {1}, "new": {absent}, "bad": {absent}, "victim": {1}}
}

// story is a life of a store, of which any call may be the last. It returns what may be found
// afterwards: after a call that was answered the new state, after one that was not, either.
func story(s *Store, tokens int) history {
	h := untouched()
	ctx := context.Background()
	step := func(id string, to int, err error) {
		if err == nil {
			h[id] = []int{to}
		} else {
			h[id] = append(h[id], to)
		}
	}
	step("replaced", 2, s.Write(ctx, makeAgent("acme", "replaced", 2, tokens)))
	step("new", 1, s.Write(ctx, makeAgent("new tenant", "new", 1, tokens))) // the quota is for one less
	step("deleted", absent, s.Delete(ctx, "acme", "deleted"))
	_, _ = read(s, "acme", "bad") // is put aside
	step("replaced", 3, s.Write(ctx, makeAgent("acme", "replaced", 3, tokens-1)))
	s.Sweep()
	h["victim"] = []int{1, absent} // evicted at some time
	return h
}

// prologue makes the folder that the story begins with.
func prologue(t testing.TB, s *Store, tokens int, flip func(path string)) {
	t.Helper()
	for _, id := range []string{"victim", "bad", "kept", "replaced", "deleted"} {
		write(t, s, makeAgent("acme", id, 1, tokens))
	}
	flip(s.path("acme", "bad"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// verify fails unless each agent is found whole in a state that it may have, and everything still
// works.
func verify(t testing.TB, s *Store, h history, tokens int, what string) {
	t.Helper()
	for id, states := range h {
		tenant := map[bool]string{true: "new tenant", false: "acme"}[id == "new"]
		got, err := read(s, tenant, id)
		ok := false
		for _, state := range states {
			n := tokens
			if state == 3 {
				n--
			}
			ok = ok || state == absent && errors.Is(err, ErrNotFound) || err == nil && state != absent && equal(got, makeAgent(tenant, id, state, n))
		}
		if _, isBad := asFileError(err); isBad && id == "bad" {
			ok = true
		}
		if !ok {
			t.Fatalf("%s: agent %q is in none of the states %v: %v", what, id, states, err)
		}
	}
	again := makeAgent("new tenant", "again", 1, tokens)
	if err := s.Write(context.Background(), again); err != nil {
		t.Fatalf("%s: the store does not work any more: %v", what, err)
	}
	wantServed(t, s, again)
}

const storyTokens = 6

// storyOptions have room for five agents and what little more the story needs.
func storyOptions(t testing.TB, o Options) Options {
	o = counted(o)
	s := openBriefly(t, t.TempDir(), unsynced(o))
	write(t, s, makeAgent("acme", "replaced", 1, storyTokens))
	o.Quota = s.Used()*6 - 20
	s.Close()
	return o
}

// The process is killed at every call to the system and after every byte of every write. What
// had been done stays, since the system lives on. (TestKilledForReal does it to real processes.)
func TestKillAtEveryPointLeavesTheOldOrTheNewAgent(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = storyOptions(t, o)
		dir := t.TempDir()
		begin := newMemory()
		o.files = begin
		prologue(t, openBriefly(t, dir, o), storyTokens, func(path string) { begin.put(path, flip(begin.get(path), 300)) })
		begin.syncAbove(dir)
		try := func(at, bytes int) *mortal {
			left := begin.after(powerCut{names: no, data: func(_, latest []byte) []byte { return latest }})
			m := newMortal(left, at, bytes, errDead)
			o.files = m
			h := untouched()
			if s, err := Open(dir, o); err == nil {
				h = story(s, storyTokens)
				s.Close()
			} else if !m.dead() {
				t.Fatal(err)
			}
			o.files = left
			s := openBriefly(t, dir, o)
			what := fmt.Sprintf("killed at call %d, byte %d", at, bytes)
			verify(t, s, h, storyTokens, what)
			wantAccounts(t, s)
			s.Close()
			o.files = left.after(powerCut{names: yes, data: func(safe, _ []byte) []byte { return safe }})
			s = openBriefly(t, dir, o)
			defer s.Close()
			if _, err := read(s, "new tenant", "again"); err != nil {
				t.Fatalf("%s, restarted, power cut: what was written meanwhile is lost: %v", what, err)
			}
			return m
		}
		whole := try(-1, 0)
		points := 0
		for at := range whole.calls {
			for bytes := range whole.writes[at] + 1 {
				try(at, bytes)
				points++
			}
		}
		t.Logf("%d calls, %d points", whole.calls, points)
		if whole.calls < 60 || len(whole.writes) < 10 || points < 1000 {
			t.Errorf("the story has only %d calls, %d writes, %d points", whole.calls, len(whole.writes), points)
		}
	})
}

// Each call to the system fails once, with several errors; of a write, a part may be done. The
// store must go on, keep its books and serve nothing but what was written.
func TestEveryCallMayFailAndTheStoreGoesOn(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = storyOptions(t, o)
		for _, failure := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			calls := 1
			for at := 0; at < calls; at++ {
				disk := newMemory()
				dir := t.TempDir()
				o := counted(o)
				o.files = disk
				prologue(t, openBriefly(t, dir, o), storyTokens, func(path string) { disk.put(path, flip(disk.get(path), 300)) })
				m := newMortal(disk, -1, 40, failure)
				o.files = m
				if at == 0 { // how many calls there are
					s := openBriefly(t, dir, o)
					story(s, storyTokens)
					calls = m.calls
					s.Close()
					continue
				}
				m.at = at
				s, err := Open(dir, o)
				if err != nil { // a folder that cannot be made or listed
					continue
				}
				h := story(s, storyTokens)
				what := fmt.Sprintf("%v at call %d", failure, at)
				m.at = -1
				_, stuck := s.Get("acme", "victim")
				if stuck || s.Report().Unreadable > 0 || o.Metrics.evicted.Get() > 1 { // then another was evicted
					for id := range h {
						h[id] = append(h[id], absent)
					}
				}
				verify(t, s, h, storyTokens, what)
				if used, onDisk := s.Used(), sizes(t, disk, dir); used != onDisk {
					t.Fatalf("%s: %d bytes are said to be used, %d are", what, used, onDisk)
				}
				s.Close()
				o.files = disk
				s = openBriefly(t, dir, o)
				delete(h, "victim") // the second check wrote one more
				verify(t, s, h, storyTokens, what+", after a restart")
				s.Close()
			}
		}
	})
}

// The power is cut at every call. Of what was not synced, any part may be lost: names and data
// each on their own.
func TestPowerCutAtEveryPointLeavesTheOldOrTheNewAgent(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	cuts := map[string]powerCut{
		"all that was not synced is lost": {names: yes, data: func(safe, _ []byte) []byte { return safe }},
		"names are kept, data is lost":    {names: no, data: func(safe, _ []byte) []byte { return safe }},
		"names are kept, data is zeros":   {names: no, data: func(_, latest []byte) []byte { return make([]byte, len(latest)) }},
		"names are kept, data is cut":     {names: no, data: func(_, latest []byte) []byte { return latest[:len(latest)/2] }},
		"names are lost here and there":   {names: func() bool { return rng.IntN(2) == 0 }, data: func(_, latest []byte) []byte { return latest[:len(latest)*9/10] }},
		"nothing is lost":                 {names: no, data: func(_, latest []byte) []byte { return latest }},
	}
	o := storyOptions(t, small(nil))
	dir := t.TempDir()
	calls := 1
	for at := 0; at < calls; at++ {
		for what, cut := range cuts {
			before := newMemory()
			must(before.MkdirAll(dir))
			o.files = before
			prologue(t, openBriefly(t, dir, o), storyTokens, func(path string) {
				before.put(path, flip(before.get(path), 300))
				before.find(path).syncedForGood = true
			})
			before.syncAbove(dir)
			m := newMortal(before, at, 40, errDead)
			o.files = m
			if at == 0 {
				m.at = -1
			}
			s, err := Open(dir, o)
			h := untouched()
			if err == nil {
				h = story(s, storyTokens)
				s.Close()
			}
			if at == 0 {
				calls = m.calls
			}
			o.files = before.after(cut)
			s = openBriefly(t, dir, o)
			verify(t, s, h, storyTokens, fmt.Sprintf("power cut at call %d, %s", at, what))
			s.Close()
		}
	}
}

func yes() bool { return true }

func no() bool { return false }
