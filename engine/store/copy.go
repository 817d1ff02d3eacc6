package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"time"
)

// Copy is an agent's file, from here or from elsewhere, whose head, tokens and seals have been
// verified. It goes on to be that file when another is written in its place.
type Copy struct {
	Tokens  []int32
	Created time.Time
	LastUse time.Time
	Size    int64  // bytes of the file
	Sum     string // of the file, in 16 hexadecimal digits; no two files have one sum
	reader  *Reader
}

// ReadAt reads the file.
func (c *Copy) ReadAt(b []byte, at int64) (int, error) { return c.reader.file.ReadAt(b, at) }

// Close lets go of the file.
func (c *Copy) Close() error { return c.reader.Close() }

func (r *Reader) copy() *Copy {
	return &Copy{
		Tokens: r.tokens, Created: time.Unix(0, r.head.created), LastUse: time.Unix(0, r.head.lastUse),
		Size: r.size, Sum: fmt.Sprintf("%x", r.sum[:8]), reader: r,
	}
}

// Space is the name of the folder of all that is of use to this model, with this key.
func (s *Store) Space() string { return filepath.Base(s.space) }

// Place is where an agent lies below the space: tenant/agent, of hexadecimal digits. Nobody can
// tell the names from it who has not the key, if there is one.
func (s *Store) Place(tenant, id string) string {
	return s.ring.tenantName(tenant) + "/" + s.ring.agentName(tenant, id)
}

// AgentAt returns the agent on disk that lies at a place.
func (s *Store) AgentAt(place string) (Info, bool) {
	path := filepath.Join(s.space, filepath.FromSlash(place)+agentSuffix)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries.byPath[path]
	if e == nil || !e.named || e.expired(s.now()) {
		return Info{}, false
	}
	return e.describe(), true
}

var placeNames = regexp.MustCompile(`^[0-9a-f]{64}/[0-9a-f]{64}$`)

// IsSpace and IsPlace say whether a name is one that Space or Place could return.
func IsSpace(name string) bool { return spaceNames.MatchString(name) }

// IsPlace is described with IsSpace.
func IsPlace(name string) bool { return placeNames.MatchString(name) }

// HashTokens returns a hash of token ids.
func HashTokens(tokens []int32) [32]byte {
	b := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	return sha256.Sum256(b)
}

// Export opens the file of an agent to be copied elsewhere.
func (s *Store) Export(tenant, id string) (*Copy, error) {
	r, err := s.openFile(tenant, id)
	if err != nil {
		return nil, err
	}
	return r.copy(), nil
}

// Verify reads the blocks, so that what is wrong on this disk is not copied to others. A bad file
// is put aside and a *FileError returned.
func (c *Copy) Verify(ctx context.Context) error { return c.reader.verifyBlocks(ctx) }

func (r *Reader) verifyBlocks(ctx context.Context) error {
	block := make([]byte, r.store.opt.Geometry.BlockBytes)
	for i := range r.layout.blocks {
		if err := r.Restore(ctx, i, [][]byte{block}); err != nil {
			return err
		}
	}
	return nil
}

// Inspect reads a copy that lies elsewhere, but for its blocks. It returns a *FileError if that
// is not what this store would write for the agent.
func (s *Store) Inspect(tenant, id string, from io.ReaderAt, size int64) (*Copy, error) {
	r := &Reader{store: s, path: s.path(tenant, id), size: size, file: struct {
		io.ReaderAt
		io.Closer
	}{from, io.NopCloser(nil)}}
	if err := r.open(); err != nil {
		return nil, r.judge(err)
	}
	return r.copy(), nil
}

// Import puts a copy from elsewhere on disk, in the place of what there was of the agent, once
// all of it has been verified. It returns a *FileError if the copy is bad, ErrNotFound if it has
// expired, and leaves what was on disk then.
func (s *Store) Import(ctx context.Context, tenant, id string, from io.Reader, size int64) (*Copy, error) {
	path := s.path(tenant, id)
	ctx, hold, err := s.take(ctx, path)
	if err != nil {
		return nil, err
	}
	defer s.letGo(hold)
	if err := s.makeRoom(size, path); err != nil {
		return nil, err
	}
	c, err := s.importFile(ctx, path, from, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.used -= size // put counts it again
	if err != nil && !errors.Is(err, errRenamed) {
		return nil, err
	}
	h := c.reader.head
	s.entries.put(&entry{
		path: path, named: true, tenant: tenant, id: id, tokens: h.tokens, size: size,
		created: c.Created, lastUse: c.LastUse, ttl: shorter(s.opt.TTL, h.ttl()),
	})
	return c, nil
}

func (s *Store) importFile(ctx context.Context, path string, from io.Reader, size int64) (c *Copy, err error) {
	name, folder := temporary(path), filepath.Dir(path)
	f, err := s.create(name, folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !errors.Is(err, errRenamed) {
			_ = s.files.Remove(name) // if this fails too, the next start removes it
		}
	}()
	n, err := io.Copy(f, io.LimitReader(from, size+1))
	if err == nil && n != size {
		err = bad(Torn, fmt.Sprintf("its length is %d, not %d", n, size))
	}
	if err == nil {
		c, err = s.verify(ctx, path, name, size)
	}
	if err == nil {
		err = s.files.SetTime(name, c.LastUse)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, err
	}
	if err := s.files.Rename(name, path); err != nil {
		return nil, err
	}
	if err := s.files.SyncFolder(folder); err != nil {
		return c, fmt.Errorf("%w: %w", errRenamed, err)
	}
	return c, nil
}

// verify reads the whole of a file that is to lie at path.
func (s *Store) verify(ctx context.Context, path, name string, size int64) (*Copy, error) {
	f, err := s.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	r := &Reader{store: s, path: path, file: f, size: size}
	if err := r.open(); err != nil {
		return nil, err
	}
	if h := r.head; h.expires > 0 && s.now().UnixNano() >= h.expires {
		return nil, ErrNotFound
	}
	if err := r.verifyBlocks(ctx); err != nil {
		return nil, err
	}
	return r.copy(), nil
}
