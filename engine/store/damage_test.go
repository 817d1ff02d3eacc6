package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// spoil replaces the file of an agent.
func spoil(t testing.TB, s *Store, a Agent, b []byte) {
	t.Helper()
	f, err := s.files.Create(s.path(a.Tenant, a.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, s *Store, a Agent) []byte {
	t.Helper()
	f, err := s.files.Open(s.path(a.Tenant, a.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exhaust runs a test of a spoilt file for each variant: under a store that is open already and,
// for one in so many, found by a start.
func exhaust(t *testing.T, starts int, variants func(good []byte, try func(name string, b []byte))) {
	bothWays(t, func(t *testing.T, o Options) {
		o = counted(o)
		o.files = newMemory() // thousands of variants take a minute on a disk
		a, other := makeAgent("t", "a", 1, 6), makeAgent("t", "b", 1, 6)
		dir := t.TempDir()
		s := openBriefly(t, dir, o)
		write(t, s, a, other)
		good := content(t, s, a)
		tried, found := 0, 0
		variants(good, func(name string, b []byte) {
			spoil(t, s, a, b)
			refused(t, s, a, name+", live")
			found++
			if tried%starts == 0 {
				spoil(t, s, a, b)
				s.Close()
				s = openBriefly(t, dir, o)
				refused(t, s, a, name+", at start")
				found++
			}
			tried++
			if _, err := s.removeFromShelf(""); err != nil {
				t.Fatal(err)
			}
			write(t, s, a)
		})
		wantServed(t, s, a, other)
		wantAccounts(t, s)
		var counted uint64
		for _, c := range o.Metrics.quarantined {
			counted += c.Get()
		}
		if counted != uint64(found) {
			t.Errorf("%d files are counted of %d that were bad", counted, found)
		}
		s.Close()
	})
}

// refused fails if anything of a bad file is served, the whole or a block of it.
func refused(t testing.TB, s *Store, a Agent, what string) {
	t.Helper()
	r, err := s.OpenAgent(a.Tenant, a.ID)
	if err == nil {
		for i := range a.Blocks {
			block := make([]byte, smallGeometry.BlockBytes)
			if r.Restore(context.Background(), i, [][]byte{block}) == nil && !bytes.Equal(block, a.Blocks[i]) {
				t.Errorf("%s: block %d is served wrong", what, i)
			}
		}
		r.Close()
	}
	if got, err := read(s, a.Tenant, a.ID); err == nil {
		t.Fatalf("%s: served, equal %v", what, equal(got, a))
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	exhaust(t, 9, func(good []byte, try func(string, []byte)) { // at start: a bit of each byte, another each time
		for i := range good {
			for bit := range 8 {
				b := bytes.Clone(good)
				b[i] ^= 1 << bit
				try(fmt.Sprintf("byte %d bit %d", i, bit), b)
			}
		}
	})
}

func TestEveryTruncationIsFound(t *testing.T) {
	exhaust(t, 1, func(good []byte, try func(string, []byte)) {
		for n := range good {
			try(fmt.Sprintf("cut to %d", n), good[:n])
			zeroed := append(bytes.Clone(good[:n]), make([]byte, len(good)-n)...)
			if !bytes.Equal(zeroed, good) {
				try(fmt.Sprintf("zeros from %d on", n), zeroed)
			}
		}
		try("one byte more", append(bytes.Clone(good), 0))
	})
}

func TestSwappedBlocksAreFound(t *testing.T) {
	exhaust(t, 1, func(good []byte, try func(string, []byte)) {
		b := bytes.Clone(good)
		size := smallGeometry.BlockBytes
		for body := 160; body+2*size < len(b); body += 4 { // at whatever place the blocks lie
			copy(b[body:], good[body+size:body+2*size])
			copy(b[body+size:], good[body:body+size])
			try(fmt.Sprintf("swapped at %d", body), b)
			copy(b, good)
		}
	})
}

// Who has no key can still compute the SHA-256 of a file and move blocks about with their seals.
func TestBlocksCannotBeRearrangedOrTakenFromAnotherFile(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		s := openStore(t, t.TempDir(), o)
		a := makeAgent("acme", "a", 1, 10)
		write(t, s, a)
		earlier := content(t, s, a)
		write(t, s, a) // the same once more, under another head
		good := content(t, s, a)
		h, sealer, err := decodeHead(good, &s.ring)
		if err != nil {
			t.Fatal(err)
		}
		l, size, sealSize := h.layout(sealer.size()), int64(smallGeometry.BlockBytes), int64(sealer.size())
		move := func(to, from int64, source []byte) []byte {
			b := bytes.Clone(good)
			copy(b[l.body+to*size:][:size], source[l.body+from*size:])
			copy(b[l.seals+to*sealSize:][:sealSize], source[l.seals+from*sealSize:])
			return b
		}
		swapped := move(0, 1, good)
		copy(swapped[l.body+size:][:size], good[l.body:])
		copy(swapped[l.seals+sealSize:][:sealSize], good[l.seals:])
		tokens := bytes.Clone(good)
		copy(tokens[l.tokens:l.body], earlier[l.tokens:l.body])
		for what, b := range map[string][]byte{
			"swapped": swapped, "doubled": move(2, 0, good), "of an earlier file": move(1, 1, earlier), "tokens of an earlier file": tokens,
		} {
			whole := sha256.New()
			whole.Write(b[:l.body])
			whole.Write(b[l.seals:l.whole])
			copy(b[l.whole:], whole.Sum(nil))
			spoil(t, s, a, b)
			if got, err := read(s, "acme", "a"); !isBad(err, Checksum) {
				t.Errorf("%s: %v, equal %v", what, err, equal(got, a))
			}
			write(t, s, a) // good's head is not the current one's, and need not be
		}
		spoil(t, s, a, good)
		wantServed(t, s, a)
	})
}

func TestBadFilesAreCountedByReason(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = counted(unsynced(o))
		a := makeAgent("acme", "a", 1, 10)
		foreign := func(change func(*Options), agent Agent) []byte {
			other := o
			change(&other)
			s := openStore(t, t.TempDir(), other)
			write(t, s, agent)
			return content(t, s, agent)
		}
		s := openStore(t, t.TempDir(), o)
		write(t, s, a)
		good := content(t, s, a)
		version := bytes.Clone(good)
		version[8]++
		for _, c := range []struct {
			name string
			file []byte
			want Reason
		}{
			{"cut in the head", good[:100], Torn},
			{"cut in the body", good[:len(good)-1], Torn},
			{"empty", nil, Torn},
			{"zeros", make([]byte, len(good)), Torn},
			{"flipped in the names", flip(good, 165), Checksum},
			{"flipped in the body", flip(good, len(good)-120), Checksum},
			{"not ours", bytes.Repeat([]byte("x"), len(good)), Checksum},
			{"another version", version, Version},
			{"another model", foreign(func(o *Options) { o.Fingerprint[31]++ }, a), ForeignModel},
			{"another KV type", foreign(func(o *Options) { o.KVType = "q8" }, a), ForeignModel},
			{"another geometry", foreign(func(o *Options) { o.Geometry.Layers, o.Geometry.KVDim = 4, 2 }, a), ForeignModel},
			{"another tenant", foreign(func(o *Options) {}, makeAgent("evil", "a", 1, 10)), ForeignTenant},
			{"another agent", foreign(func(o *Options) {}, makeAgent("acme", "b", 1, 10)), ForeignTenant},
			{"another key", foreign(func(o *Options) { o.Key = bytes.Repeat([]byte{9}, 32) }, a), ForeignKey},
			{"plain or encrypted", foreign(func(o *Options) { o.Key = opposite(o.Key) }, a), ForeignKey},
		} {
			write(t, s, a)
			spoil(t, s, a, c.file)
			wantBad(t, s, "acme", "a", c.want)
			write(t, s, a)
			spoil(t, s, a, c.file)
			before := o.Metrics.quarantined[c.want].Get()
			s = reopen(t, s, o)
			_, err := read(s, "acme", "a")
			if n := o.Metrics.quarantined[c.want].Get() - before; n != 1 || err == nil {
				t.Errorf("%s: counted %d times as %s by a start: %v", c.name, n, c.want, err)
			}
			wantAccounts(t, s)
		}
	})
}

func flip(good []byte, at int) []byte {
	b := bytes.Clone(good)
	b[at] ^= 0x10
	return b
}

func opposite(key []byte) []byte {
	if key == nil {
		return testKey
	}
	return nil
}

// With a key, a tenant's file under another tenant's name is not opened even by who can write to
// the folder and knows how names are made.
func TestFileMovedToAnotherTenantIsNotServed(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = counted(o)
		s := openStore(t, t.TempDir(), o)
		theirs, mine := makeAgent("victim", "a", 1, 10), makeAgent("evil", "a", 1, 10)
		write(t, s, theirs, mine)
		if err := os.Rename(s.path("victim", "a"), s.path("evil", "a")); err != nil {
			t.Fatal(err)
		}
		wantBad(t, s, "evil", "a", ForeignTenant)
		write(t, s, theirs)
		spoil(t, s, mine, content(t, s, theirs))
		s = reopen(t, s, o)
		wantNone(t, s, "evil", "a")
		wantServed(t, s, theirs)
		if n := o.Metrics.quarantined[ForeignTenant].Get(); n != 2 {
			t.Errorf("counted %d times", n)
		}
	})
}

func TestForeignFilesAndFoldersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, small(nil))
	a := makeAgent("acme", "a", 1, 5)
	write(t, s, a)
	tenant := filepath.Dir(s.path("acme", "a"))
	strange := []string{
		filepath.Join(dir, "lost+found", "x.tmp"), filepath.Join(dir, "notes.txt"), filepath.Join(s.space, "readme"),
		filepath.Join(tenant, "agent.kv"), filepath.Join(tenant, "notes"), filepath.Join(dir, shelfName, "notes"),
	}
	for _, path := range strange {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A link under an agent's name would read or overwrite what it points at.
	link := s.path("acme", "link")
	if err := os.Symlink(strange[1], link); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, small(nil))
	wantServed(t, s, a)
	wantNone(t, s, "acme", "link")
	if err := os.Symlink(strange[1], temporary(s.path("acme", "b"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(context.Background(), makeAgent("acme", "b", 1, 5)); err == nil {
		t.Error("wrote through a link")
	}
	for _, path := range strange {
		if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
}

func TestOtherModelsFilesAreKeptApart(t *testing.T) {
	dir := t.TempDir()
	o := counted(small(testKey))
	s := openStore(t, dir, o)
	a := makeAgent("acme", "a", 1, 5)
	write(t, s, a)
	for what, change := range map[string]func(*Options){
		"model": func(o *Options) { o.Fingerprint[0]++ },
		"type":  func(o *Options) { o.KVType = "q8" },
		"shape": func(o *Options) { o.Geometry.BlockBytes *= 2 },
		"key":   func(o *Options) { o.Key = bytes.Repeat([]byte{1}, 32) },
		"plain": func(o *Options) { o.Key = nil },
	} {
		other := o
		change(&other)
		s.Close()
		s = openStore(t, dir, other)
		wantNone(t, s, "acme", "a")
		b := makeSized(other.Geometry, "acme", "a", 2, 9)
		write(t, s, b)
		wantServed(t, s, b)
		wantAccounts(t, s)
		if r := s.Report(); r.Agents != 0 || r.Others == 0 {
			t.Errorf("another %s: found %+v", what, r)
		}
	}
	s = reopen(t, s, o)
	wantServed(t, s, a)
	if r := s.Report(); r.Agents != 1 || r.Others != 5 || r.Quarantined != 0 {
		t.Errorf("found %+v", r)
	}
	// Deleting an agent deletes what it has under the key's other models, too.
	if err := s.Delete(context.Background(), "acme", "a"); err != nil {
		t.Fatal(err)
	}
	if r := reopen(t, s, o).Report(); r.Agents != 0 || r.Others != 2 {
		t.Errorf("after a deletion there are %+v", r)
	}
}

// A file may be cut or changed after it was opened.
func TestFileThatChangesWhileItIsReadIsFound(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o = counted(o)
		s := openStore(t, t.TempDir(), o)
		a := makeAgent("acme", "a", 1, 10)
		for want, change := range map[Reason]func(f *os.File) error{
			Torn:     func(f *os.File) error { return f.Truncate(300) },
			Checksum: func(f *os.File) error { _, err := f.WriteAt(make([]byte, 200), 300); return err },
		} {
			write(t, s, a)
			r, err := s.OpenAgent("acme", "a")
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(s.path("acme", "a"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(f); err != nil {
				t.Fatal(err)
			}
			dst := makeAgent("acme", "a", 2, 10).Blocks
			if err := r.Restore(context.Background(), 0, dst); !isBad(err, want) {
				t.Errorf("%v, want %s", err, want)
			}
			_, _ = io.Closer(f).Close(), r.Close()
			wantNone(t, s, "acme", "a")
		}
	})
}
