package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Agent is what is written of an agent. Nothing of it is copied: tokens and blocks must not
// change before Write returns.
type Agent struct {
	Tenant, ID string
	Tokens     []int32
	Blocks     [][]byte  // views of the pool's blocks, as many as the tokens take
	Created    time.Time // zero: as on disk, or now
	LastUse    time.Time // zero: now
}

// Write puts an agent on disk in the place of what was there. When it returns nil, the agent
// outlives a power cut; else it returns ErrDeleted, ErrClosed or a *WriteError, and what was on
// disk before is served as before.
func (s *Store) Write(ctx context.Context, a Agent) error {
	start := time.Now()
	err := writeError(s.write(ctx, a))
	if we, ok := errors.AsType[*WriteError](err); ok {
		s.metrics.failures[we.Reason].Inc()
	}
	if err == nil {
		s.metrics.persist.Update(time.Since(start).Seconds())
	}
	return err
}

func (s *Store) write(ctx context.Context, a Agent) error {
	if err := s.fits(&a); err != nil {
		return &WriteError{Reason: Invalid, Err: err}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	path := s.path(a.Tenant, a.ID)
	ctx, hold, err := s.take(ctx, path)
	if err != nil {
		return err
	}
	defer s.letGo(hold)
	h := s.newHead(&a, path)
	l := h.layout(s.ring.sealSize())
	if err := s.makeRoom(l.size, path); err != nil {
		return err
	}
	err = s.replace(ctx, path, h, &a)
	if err != nil && !errors.Is(err, errRenamed) {
		s.mu.Lock()
		s.entries.used -= l.size
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	s.entries.used -= l.size // put counts it again
	s.entries.put(&entry{
		path: path, named: true, tenant: a.Tenant, id: a.ID, tokens: h.tokens, size: l.size,
		created: time.Unix(0, h.created), lastUse: time.Unix(0, h.lastUse), ttl: h.ttl(),
	})
	s.mu.Unlock()
	return err
}

func (r *keyring) sealSize() int {
	if r.encrypted {
		return tagSize
	}
	return sumSize
}

// fits says whether an agent can be stored at all.
func (s *Store) fits(a *Agent) error {
	g := s.opt.Geometry
	blocks := (len(a.Tokens) + g.BlockTokens - 1) / g.BlockTokens
	switch {
	case len(a.Tenant) > maxName || len(a.ID) > maxName:
		return fmt.Errorf("its names have %d and %d bytes, at most %d can be stored", len(a.Tenant), len(a.ID), maxName)
	case !within(len(a.Tokens), maxTokens):
		return fmt.Errorf("it has %d tokens, 1 to %d can be stored", len(a.Tokens), maxTokens)
	case len(a.Blocks) != blocks:
		return fmt.Errorf("it has %d blocks, and its %d tokens take %d", len(a.Blocks), len(a.Tokens), blocks)
	}
	for i, b := range a.Blocks {
		if len(b) != g.BlockBytes {
			return fmt.Errorf("its block %d has %d bytes, not %d", i, len(b), g.BlockBytes)
		}
	}
	return nil
}

func (s *Store) newHead(a *Agent, path string) *head {
	if a.LastUse.IsZero() {
		a.LastUse = s.now()
	}
	if a.Created.IsZero() {
		a.Created = a.LastUse
		s.mu.Lock()
		if e := s.entries.byPath[path]; e != nil && e.named {
			a.Created = e.created
		}
		s.mu.Unlock()
	}
	h := &head{
		fingerprint: s.opt.Fingerprint, kvType: s.opt.KVType, geometry: s.opt.Geometry, tokens: len(a.Tokens),
		created: a.Created.UnixNano(), lastUse: a.LastUse.UnixNano(), tenant: a.Tenant, id: a.ID,
	}
	if s.opt.TTL > 0 {
		h.expires = h.lastUse + int64(s.opt.TTL)
	}
	rand.Read(h.salt[:]) // never fails: crypto/rand ends the program instead
	return h
}

// errRenamed marks an error after which the new file stands in the place of the old one, though
// it may not outlive a power cut.
var errRenamed = errors.New("the new file may not outlive a power cut")

// replace writes a file under a temporary name and, when all of it is safe, renames it.
func (s *Store) replace(ctx context.Context, path string, h *head, a *Agent) error {
	name, folder := temporary(path), filepath.Dir(path)
	f, err := s.create(name, folder)
	if err != nil {
		return err
	}
	err = s.fill(ctx, f, h, a)
	if err == nil {
		err = s.files.SetTime(name, a.LastUse) // so that the order of last use outlives a restart
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.files.Rename(name, path)
	}
	if err != nil {
		_ = s.files.Remove(name) // if this fails too, the next start removes it
		return err
	}
	if err := s.files.SyncFolder(folder); err != nil {
		return fmt.Errorf("%w: %w", errRenamed, err)
	}
	return nil
}

// create makes a temporary file and, if it is missing, its folder.
func (s *Store) create(name, folder string) (file, error) {
	s.mu.Lock()
	known := s.folders[folder]
	s.mu.Unlock()
	if known {
		f, err := s.files.Create(name)
		if err == nil || !missing(err) {
			return f, err
		}
	}
	if err := s.files.MkdirAll(folder); err != nil {
		return nil, err
	}
	if err := s.files.SyncFolder(filepath.Dir(folder)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.folders[folder] = true
	s.mu.Unlock()
	return s.files.Create(name)
}

// fill writes the parts of a file in their order. The blocks go to the system straight from the
// pool or, encrypted, by way of one block's scratch.
func (s *Store) fill(ctx context.Context, f file, h *head, a *Agent) error {
	b, sealer, err := h.encode(&s.ring)
	if err != nil {
		return err
	}
	b = appendTokens(b, sealer, a.Tokens)
	b = append(b, make([]byte, h.layout(sealer.size()).body-int64(len(b)))...)
	whole := sha256.New()
	whole.Write(b)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	scratch := s.scratch.Get().(*[]byte)
	defer s.scratch.Put(scratch)
	seals := make([]byte, 0, len(a.Blocks)*sealer.size()+wholeSize)
	for i, block := range a.Blocks {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		stored, seal := sealer.seal(partBlocks, i, block, *scratch)
		if _, err := f.Write(stored); err != nil {
			return err
		}
		seals = append(seals, seal...)
	}
	whole.Write(seals)
	_, err = f.Write(whole.Sum(seals))
	return err
}

// appendTokens appends the token ids as they stand in a file, and their seal.
func appendTokens(b []byte, s *sealer, tokens []int32) []byte {
	plain := make([]byte, 0, 4*len(tokens))
	for _, token := range tokens {
		plain = binary.LittleEndian.AppendUint32(plain, uint32(token))
	}
	stored, seal := s.seal(partTokens, 0, plain, make([]byte, 0, len(plain)+tagSize))
	return append(append(b, stored...), seal...)
}
