package logchain

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// testKey is the same each time.
func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// testLines makes lines as the processes write them.
func testLines(boot string, first, count int) string {
	var b strings.Builder
	for seq := first; seq < first+count; seq++ {
		fmt.Fprintf(&b, `{"ts":"2026-11-23T12:45:07.%09dZ","boot":"%s","seq":%d,"level":"info","msg":"line"}`+"\n", seq, boot, seq)
	}
	return b.String()
}

// addFile puts a compressed file into the folder and lists it.
func addFile(t testing.TB, m *Manifest, name, content string) {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(m.path), name)
	if err := os.WriteFile(path, enc.EncodeAll([]byte(content), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewSurvey(nil)
	s.Write([]byte(content))
	what := s.File()
	if what.ZstSHA256, what.ZstSize, err = HashFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	add(t, m, Entry{Kind: Archived, Name: name, File: &what})
}

func add(t testing.TB, m *Manifest, e Entry) {
	t.Helper()
	e.Time = start
	if err := m.Append(e); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string, key ed25519.PrivateKey) *Manifest {
	t.Helper()
	m, err := Open(filepath.Join(dir, FileName), key, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func archiveName(i int) string { return fmt.Sprintf("proxy.log.20261123T12000%d.000000000Z.zst", i) }

const boot = "0123456789abcdef"

// testFolder has five files, the first of which retention removed. The manifest's
// entries: begin, file 1, file 2, file 3, tombstone of 1, file 4, file 5.
func testFolder(t testing.TB, key ed25519.PrivateKey) (dir string, m *Manifest) {
	t.Helper()
	dir = t.TempDir()
	m = open(t, dir, key)
	for i := 1; i <= 5; i++ {
		addFile(t, m, archiveName(i), testLines(boot, i*10, 10))
		if i == 3 {
			add(t, m, Entry{Kind: Tombstone, Name: archiveName(1), Of: 2, Reason: "--log-keep=2"})
			if err := os.Remove(filepath.Join(dir, archiveName(1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir, m
}

func TestManifestGoesOnWhereItEnded(t *testing.T) {
	for name, key := range map[string]ed25519.PrivateKey{"unsigned": nil, "signed": testKey(1)} {
		t.Run(name, func(t *testing.T) {
			dir, m := testFolder(t, key)
			head := m.Head()
			if head.Count != 7 || len(head.Hash) != 64 || m.Flaw() != nil {
				t.Fatalf("head %s, flaw %v", head, m.Flaw())
			}
			again := open(t, dir, key)
			if again.Head() != head || again.Flaw() != nil {
				t.Errorf("read again: head %s, want %s; flaw %v", again.Head(), head, again.Flaw())
			}
			if _, ok := again.File(archiveName(1)); ok || !again.Gone(archiveName(1)) {
				t.Error("the file with a tombstone is still listed")
			}
			if e, ok := again.File(archiveName(4)); !ok || e.Lines != 10 || e.Writers[0] != (Writer{boot, 40, 49, 10}) {
				t.Errorf("file 4 is listed as %+v", e)
			}
			addFile(t, again, archiveName(6), testLines(boot, 60, 10))
			if h := open(t, dir, key).Head(); h.Count != 8 || h != again.Head() {
				t.Errorf("after one more the head is %s and %s", h, again.Head())
			}
		})
	}
}

func TestPieceOfAnEntryIsCutOff(t *testing.T) {
	dir, m := testFolder(t, nil)
	head := m.Head()
	whole, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"{", `{"n":8,"kind":"file"`, strings.Repeat("x", maxLine+100)} {
		if err := os.WriteFile(m.path, append(bytes.Clone(whole), piece...), 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, nil)
		if got, _ := os.ReadFile(m.path); !bytes.Equal(got, whole) || again.Head() != head || again.Flaw() != nil {
			t.Errorf("after %.20q: %d bytes, want %d; head %s; flaw %v", piece, len(got), len(whole), again.Head(), again.Flaw())
		}
	}
}

func TestChangeIsSeenByTheOneThatContinues(t *testing.T) {
	for name, change := range map[string]func(path string){
		"removed":   func(path string) { os.Remove(path) },
		"cut":       func(path string) { os.Truncate(path, 700) },
		"continued": func(path string) { appendTo(path, "{}\n") },
		"torn":      func(path string) { appendTo(path, "{}") },
		"replaced":  func(path string) { os.WriteFile(path+"x", nil, 0o600); os.Rename(path+"x", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := testFolder(t, nil)
			change(m.path)
			addFile(t, m, archiveName(6), testLines(boot, 60, 10))
			if m.Flaw() == nil || m.Head().Count != 8 {
				t.Errorf("flaw %v, head %s", m.Flaw(), m.Head())
			}
			if again := open(t, dir, nil); again.Flaw() == nil {
				t.Error("the next one does not see it")
			}
			if r, err := Verify(t.Context(), dir, Expect{}); err != nil || len(r.Faults) == 0 {
				t.Errorf("verify finds %v, %v", r.Faults, err)
			}
		})
	}
}

func appendTo(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		f.WriteString(text)
		f.Close()
	}
}

func TestEntryHasOneSpelling(t *testing.T) {
	_, m := testFolder(t, testKey(1))
	text, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := parseEntry([]byte(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for what, other := range map[string]string{
			"a space":         strings.Replace(line, ",", ", ", 1),
			"another field":   strings.Replace(line, "{", `{"x":1,`, 1),
			"a field twice":   strings.Replace(line, `"prev"`, `"n":1,"prev"`, 1),
			"no line feed":    strings.TrimSuffix(line, "\n"),
			"other capitals":  strings.Replace(line, `"prev"`, `"Prev"`, 1),
			"something after": strings.TrimSuffix(line, "\n") + "{}\n",
		} {
			if _, err := parseEntry([]byte(other)); err == nil {
				t.Errorf("an entry with %s is taken: %s", what, other)
			}
		}
	}
}

func TestHeadIsReadBack(t *testing.T) {
	_, m := testFolder(t, nil)
	head := m.Head()
	for _, text := range []string{head.String(), head.String()[:len("7:")+12]} {
		noted, err := ParseHead(text)
		if err != nil || !head.matches(noted) {
			t.Errorf("%s is read as %v, %v", text, noted, err)
		}
	}
	if got := fmt.Sprintf("%012x", head.Prefix()); got != head.Hash[:12] {
		t.Errorf("the prefix is %s of %s", got, head.Hash)
	}
	for _, text := range []string{"", "7", "7:", ":" + head.Hash, "7:abc", "x:" + head.Hash, "7:" + strings.ToUpper(head.Hash), "7:" + head.Hash + "0"} {
		if _, err := ParseHead(text); err == nil {
			t.Errorf("%q is taken for a head", text)
		}
	}
}

func TestStampsRiseThroughAllThatIsKnown(t *testing.T) {
	_, m := testFolder(t, nil)
	for _, c := range []struct{ log, onDisk, want string }{
		{"proxy.log", "", "20261123T120005.000000001Z"},                           // file 5
		{"proxy.log", "20261123T130000.000000000Z", "20261123T130000.000000001Z"}, // the folder's
		{"engine.log", "", "20261123T120000.000000001Z"},                          // the manifest's begin
		{"engine.log", "no date but a long text", "20261123T100000.000000000Z"},   // nothing to add to
	} {
		if got := m.Stamp(c.log, c.onDisk, start.Add(-2*time.Hour)); got != c.want {
			t.Errorf("%s after %q gets %s, want %s", c.log, c.onDisk, got, c.want)
		}
	}
}

func TestLinesAreReadFromAnEntryOn(t *testing.T) {
	_, m := testFolder(t, nil)
	all, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	if lines, last, err := m.ReadFrom(1, 1<<20); err != nil || last != 7 || !bytes.Equal(lines, all) {
		t.Errorf("from 1: up to %d, %d of %d bytes, %v", last, len(lines), len(all), err)
	}
	var got []byte
	for n := uint64(1); n <= 7; {
		lines, last, err := m.ReadFrom(n, 900)
		if err != nil || last < n {
			t.Fatalf("from %d: up to %d, %v", n, last, err)
		}
		got = append(got, lines...)
		n = last + 1
	}
	if !bytes.Equal(got, all) {
		t.Error("read in parts it is something else")
	}
	if lines, last, err := m.ReadFrom(8, 900); err != nil || last != 7 || len(lines) != 0 {
		t.Errorf("from 8: up to %d, %q, %v", last, lines, err)
	}
}
