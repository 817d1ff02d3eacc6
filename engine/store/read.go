package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Reader reads an agent from disk. It sees one whole file, also while another one is written in
// its place. It is not safe for use by several goroutines.
type Reader struct {
	store  *Store
	entry  *entry // nil for a copy that is no file of the store
	path   string // where it lies, or would
	file   source
	size   int64
	head   *head
	layout layout
	sealer *sealer
	tokens []int32
	seals  []byte
	sum    [wholeSize]byte
}

// source is what an agent is read from.
type source interface {
	io.ReaderAt
	io.Closer
}

// OpenAgent opens an agent that is on disk, which counts as a use of it. All but the blocks has
// been read and verified when it returns, and the SHA-256 of the file, which covers the blocks by
// their checksums. A file that is bad in any way is put aside and a *FileError returned.
func (s *Store) OpenAgent(tenant, id string) (*Reader, error) {
	r, err := s.openFile(tenant, id)
	if err == nil {
		s.use(r.entry)
	}
	return r, err
}

// openFile opens an agent's file, which counts as no use of it.
func (s *Store) openFile(tenant, id string) (*Reader, error) {
	path := s.path(tenant, id)
	now := s.now()
	s.mu.Lock()
	e, closed := s.entries.byPath[path], s.closed
	gone := e == nil || e.expired(now)
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case gone:
		return nil, ErrNotFound
	}
	f, err := s.files.Open(path)
	if missing(err) {
		return nil, ErrNotFound // it was evicted or removed this very moment
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the agent: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot read the agent: %w", err)
	}
	r := &Reader{store: s, entry: e, path: path, file: f, size: info.Size()}
	if err := r.open(); err != nil {
		f.Close()
		return nil, r.judge(err)
	}
	return r, nil
}

// use notes that an agent was used, in memory and in its file's time.
func (s *Store) use(e *entry) {
	now := s.now()
	s.mu.Lock()
	s.entries.touch(e, now)
	s.mu.Unlock()
	_ = s.files.SetTime(e.path, now) // else a restart takes it for less recently used than it was
}

func (r *Reader) open() error {
	b, err := r.read(0, min(r.size, maxHead))
	if err != nil {
		return err
	}
	if r.head, r.sealer, r.layout, err = r.store.check(b, r.path, r.size); err != nil {
		return err
	}
	l := &r.layout
	if b, err = r.read(0, l.body); err != nil {
		return err
	}
	end, err := r.read(l.seals, l.size-l.seals)
	if err != nil {
		return err
	}
	seals, sum := end[:l.whole-l.seals], end[l.whole-l.seals:]
	whole := sha256.New()
	whole.Write(b)
	whole.Write(seals)
	if !bytes.Equal(whole.Sum(nil), sum) {
		return bad(Checksum, "its SHA-256 is wrong")
	}
	r.seals, r.sum = seals, [wholeSize]byte(sum)
	return r.openTokens(b[l.tokens:])
}

// read returns so many bytes of the file.
func (r *Reader) read(at, size int64) ([]byte, error) {
	b := make([]byte, size)
	return b, r.readInto(b, at)
}

func (r *Reader) readInto(b []byte, at int64) error {
	n, err := r.file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return bad(Torn, "it became shorter while it was read")
	}
	return err
}

func (r *Reader) openTokens(b []byte) error {
	size := 4 * r.head.tokens
	stored, seal := b[:size:size], b[size:][:r.sealer.size()]
	if r.sealer.aead == nil {
		if !r.sealer.matches(partTokens, 0, stored, seal) {
			return bad(Checksum, "the tokens' seal is wrong")
		}
	} else {
		plain := make([]byte, size)
		if !r.sealer.openSealed(partTokens, 0, plain, stored, seal) {
			return bad(Checksum, "the tokens' seal is wrong")
		}
		stored = plain
	}
	r.tokens = make([]int32, r.head.tokens)
	for i := range r.tokens {
		r.tokens[i] = int32(binary.LittleEndian.Uint32(stored[4*i:]))
	}
	return nil
}

// Tokens returns the agent's token ids.
func (r *Reader) Tokens() []int32 { return r.tokens }

// Blocks returns how many blocks the agent has.
func (r *Reader) Blocks() int { return r.layout.blocks }

// Restore reads the agent's blocks from the first-th on straight into dst, which may be the
// pool's memory, and verifies each. What dst holds must not be used unless it returns nil: a
// block that is bad puts the file aside and returns a *FileError.
func (r *Reader) Restore(ctx context.Context, first int, dst [][]byte) error {
	if first < 0 || first+len(dst) > r.layout.blocks {
		return fmt.Errorf("cannot read blocks %d to %d of an agent's %d", first, first+len(dst), r.layout.blocks)
	}
	scratch := r.store.scratch.Get().(*[]byte)
	defer r.store.scratch.Put(scratch)
	for i, block := range dst {
		if len(block) != r.head.geometry.BlockBytes {
			return fmt.Errorf("cannot read a block of %d bytes into %d", r.head.geometry.BlockBytes, len(block))
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := r.restore(first+i, block, *scratch); err != nil {
			return r.judge(err)
		}
	}
	return nil
}

func (r *Reader) restore(i int, block, scratch []byte) error {
	size := r.sealer.size()
	at, seal := r.layout.body+int64(i)*int64(len(block)), r.seals[i*size:][:size]
	if r.sealer.aead == nil {
		if err := r.readInto(block, at); err != nil {
			return err
		}
		if !r.sealer.matches(partBlocks, i, block, seal) {
			return bad(Checksum, fmt.Sprintf("the seal of block %d is wrong", i))
		}
		return nil
	}
	stored := scratch[:len(block)]
	if err := r.readInto(stored, at); err != nil {
		return err
	}
	if !r.sealer.openSealed(partBlocks, i, block, stored, seal) {
		return bad(Checksum, fmt.Sprintf("the seal of block %d is wrong", i))
	}
	return nil
}

// judge puts a bad file aside. Other errors may pass, and their files stay.
func (r *Reader) judge(err error) error {
	if fe, ok := asFileError(err); ok {
		if r.entry == nil {
			return err
		}
		r.store.quarantine(r.entry, fe.Reason)
		return err
	}
	return fmt.Errorf("cannot read the agent: %w", err)
}

// Close lets go of the file.
func (r *Reader) Close() error { return r.file.Close() }
