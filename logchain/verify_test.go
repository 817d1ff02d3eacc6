package logchain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tamper changes a folder as testFolder makes it. The manifest's lines are counted
// from 0.
type tamper struct {
	dir   string
	lines []string
}

func (c *tamper) path(i int) string { return filepath.Join(c.dir, archiveName(i)) }

func (c *tamper) swapFiles(i, j int) {
	os.Rename(c.path(i), c.path(9))
	os.Rename(c.path(j), c.path(i))
	os.Rename(c.path(9), c.path(j))
}

// rewrite changes an entry and makes the chain after it anew, as one can who has no
// key: the signatures stay.
func (c *tamper) rewrite(t testing.TB, at int, change func(*Entry), key ed25519.PrivateKey) {
	prev := genesis
	for i, line := range c.lines {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		e.Prev = prev
		if i == at {
			change(&e)
		}
		if key != nil {
			e.sign(key)
		}
		b, _ := e.line()
		c.lines[i], prev = string(b), hashLine(b)
	}
}

// Whatever is done to the folder, the first file that it was done to is named.
func TestVerifyNamesTheFirstFileThatIsNotAsItWas(t *testing.T) {
	signer, other := testKey(1), testKey(2)
	for what, c := range map[string]struct {
		change func(t testing.TB, c *tamper)
		keys   []ed25519.PublicKey
		head   string // noted before; "" notes none
		name   string // of the first fault's file
		says   string
	}{
		"file removed":  {change: func(_ testing.TB, c *tamper) { os.Remove(c.path(3)); os.Remove(c.path(5)) }, name: archiveName(3), says: "removed:"},
		"file edited":   {change: func(_ testing.TB, c *tamper) { appendTo(c.path(4), "x"); os.Remove(c.path(5)) }, name: archiveName(4), says: "edited:"},
		"file emptied":  {change: func(_ testing.TB, c *tamper) { os.Truncate(c.path(4), 0) }, name: archiveName(4), says: "edited:"},
		"files swapped": {change: func(_ testing.TB, c *tamper) { c.swapFiles(3, 4) }, name: archiveName(3), says: "reordered: it holds what belongs into " + archiveName(4)},
		"file added": {change: func(_ testing.TB, c *tamper) {
			data, _ := os.ReadFile(c.path(4))
			os.WriteFile(c.path(7), data, 0o600)
		}, name: archiveName(7), says: "added:"},
		"entry removed":        {change: func(_ testing.TB, c *tamper) { c.lines = append(c.lines[:3], c.lines[4:]...) }, name: archiveName(3), says: "removed: entries 4 to 4"},
		"first entry removed":  {change: func(_ testing.TB, c *tamper) { c.lines = c.lines[1:] }, says: "removed: entries 1 to 1"},
		"entries swapped":      {change: func(_ testing.TB, c *tamper) { c.lines[2], c.lines[3] = c.lines[3], c.lines[2] }, name: archiveName(2), says: "reordered:"},
		"entry doubled":        {change: func(_ testing.TB, c *tamper) { c.lines[3] = c.lines[2] }, name: archiveName(3), says: "removed: entries 4 to 4"},
		"entry edited":         {change: func(_ testing.TB, c *tamper) { c.lines[2] = strings.Replace(c.lines[2], `"lines":10`, `"lines":11`, 1) }, name: archiveName(2), says: "edited:"},
		"entry made unlike":    {change: func(_ testing.TB, c *tamper) { c.lines[2] = strings.Replace(c.lines[2], `,`, ` ,`, 1) }, name: archiveName(2), says: "edited:"},
		"last entry edited":    {change: func(_ testing.TB, c *tamper) { c.lines[6] = strings.Replace(c.lines[6], `"lines":10`, `"lines":11`, 1) }, name: archiveName(5), says: "edited:"},
		"tombstone removed":    {change: func(_ testing.TB, c *tamper) { c.lines = append(c.lines[:4], c.lines[5:]...) }, name: archiveName(1), says: "removed: it is not in the folder"},
		"file of tombstone":    {change: func(t testing.TB, c *tamper) { c.rewrite(t, 4, func(e *Entry) { e.Name = archiveName(2) }, nil) }, name: archiveName(1), says: "removed:"},
		"tail cut with files":  {change: func(_ testing.TB, c *tamper) { c.lines = c.lines[:5]; os.Remove(c.path(4)); os.Remove(c.path(5)) }, head: "own", says: "removed: the manifest ends with entry 5, and entry 7 was noted"},
		"tail cut, files left": {change: func(_ testing.TB, c *tamper) { c.lines = c.lines[:6] }, name: archiveName(5), says: "added:"},
		"chain made anew": {change: func(t testing.TB, c *tamper) {
			os.Remove(c.path(3))
			c.rewrite(t, 3, func(e *Entry) {
				*e = Entry{N: e.N, Kind: Tombstone, Time: e.Time, Name: archiveName(3), Of: 4, Prev: e.Prev}
			}, nil)
		}, head: "own", name: archiveName(5), says: "edited: entry 7 has hash"},
		"chain made anew, signed": {change: func(t testing.TB, c *tamper) {
			c.rewrite(t, 3, func(e *Entry) { e.Lines = 9 }, nil)
		}, keys: []ed25519.PublicKey{signer.Public().(ed25519.PublicKey)}, name: archiveName(3), says: "edited: its entry's signature"},
		"signed by a stranger": {change: func(t testing.TB, c *tamper) {
			c.rewrite(t, 3, func(e *Entry) { e.Lines = 9 }, other)
		}, keys: []ed25519.PublicKey{signer.Public().(ed25519.PublicKey)}, name: FileName, says: "edited: its entry's signature"},
		"a signature left out": {change: func(t testing.TB, c *tamper) {
			c.rewrite(t, 6, func(e *Entry) { e.Sig = "" }, nil)
		}, keys: []ed25519.PublicKey{signer.Public().(ed25519.PublicKey)}, name: archiveName(5), says: "edited: its entry is not signed"},
		"all signatures left out": {change: func(t testing.TB, c *tamper) {
			for i := range c.lines {
				c.rewrite(t, i, func(e *Entry) { e.Sig = "" }, nil)
			}
		}, keys: []ed25519.PublicKey{signer.Public().(ed25519.PublicKey)}, name: FileName, says: "edited: a key was given and no entry is signed"},
		"manifest's end torn": {change: func(_ testing.TB, c *tamper) { c.lines[6] = strings.TrimSpace(c.lines[6]) }, name: FileName, says: "edited: its last line has no end"},
	} {
		t.Run(what, func(t *testing.T) {
			dir, m := testFolder(t, signer)
			text, err := os.ReadFile(m.path)
			if err != nil {
				t.Fatal(err)
			}
			expect := Expect{Keys: c.keys}
			if c.head != "" {
				head := m.Head()
				expect.Head = &head
			}
			if r, err := Verify(t.Context(), dir, expect); err != nil || len(r.Faults) > 0 {
				t.Fatalf("before the change: %v, %v", r.Faults, err)
			}
			change := &tamper{dir, strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")}
			change.lines[len(change.lines)-1] += "\n"
			c.change(t, change)
			if err := os.WriteFile(m.path, []byte(strings.Join(change.lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(t.Context(), dir, expect)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Faults) == 0 || r.Faults[0].Name != c.name || !strings.HasPrefix(r.Faults[0].What, c.says) {
				t.Errorf("found %q, want first %q: %s", r.Faults, c.name, c.says)
			}
		})
	}
}

func TestVerifyTellsWhatItProved(t *testing.T) {
	dir, m := testFolder(t, testKey(1))
	head := m.Head()
	addFile(t, m, archiveName(6), testLines(boot, 63, 7)) // three lines were dropped
	r, err := Verify(t.Context(), dir, Expect{Head: &head, Keys: []ed25519.PublicKey{testKey(2).Public().(ed25519.PublicKey), testKey(1).Public().(ed25519.PublicKey)}})
	if err != nil || len(r.Faults) > 0 {
		t.Fatalf("%v, %v", r.Faults, err)
	}
	if r.Head != m.Head() || r.Files != 5 || r.Removed != 1 || r.Signed != 8 {
		t.Errorf("%+v", r)
	}
	want := archiveName(6) + ": of lines 60 to 69 of boot " + boot + " 3 are missing"
	if len(r.Notices) != 1 || !strings.HasPrefix(r.Notices[0], want) {
		t.Errorf("notices %q", r.Notices)
	}
}

func TestSignedEntryVouchesForUnsignedOnesBefore(t *testing.T) {
	dir, m := testFolder(t, nil)
	m.Close()
	signed := open(t, dir, testKey(1))
	addFile(t, signed, archiveName(6), testLines(boot, 60, 10))
	r, err := Verify(t.Context(), dir, Expect{Keys: []ed25519.PublicKey{testKey(1).Public().(ed25519.PublicKey)}})
	if err != nil || len(r.Faults) > 0 || r.Signed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDoubledLinesAreAFault(t *testing.T) {
	dir, m := testFolder(t, nil)
	addFile(t, m, archiveName(6), testLines(boot, 59, 10))
	r, err := Verify(t.Context(), dir, Expect{})
	if err != nil || len(r.Faults) != 1 || r.Faults[0].Name != archiveName(6) || !strings.Contains(r.Faults[0].What, "repeats lines") {
		t.Errorf("%+v, %v", r, err)
	}
}

// Every bit of a file and of the manifest counts; one in five bytes is tried.
func TestNoFlippedBitGoesUnseen(t *testing.T) {
	dir, m := testFolder(t, testKey(1))
	head := m.Head()
	expect := Expect{Head: &head}
	for _, name := range []string{FileName, archiveName(4)} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 5 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(t.Context(), dir, expect); err != nil || len(r.Faults) == 0 {
				t.Fatalf("%s: a flipped bit in byte %d of %d is not seen (%v)", name, i, len(good), err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
