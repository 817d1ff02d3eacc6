package release

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newRelease writes a small release and returns its folder and keys.
func newRelease(t *testing.T) (string, ed25519.PrivateKey) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"semantic_linux_amd64":          "\x7fELF of amd64",
		"semantic_linux_amd64.cdx.json": "{\n  \"bomFormat\": \"CycloneDX\",\n  \"note\": \"a <b> & c\"\n}\n",
		"semantic_linux_arm64":          "\x7fELF of arm64",
		"semantic_linux_arm64.cdx.json": "{\n  \"bomFormat\": \"CycloneDX\"\n}\n",
		"NOTICE":                        "Semantic\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	p := NewProvenance(map[string]any{"version": "1.2.3"}, nil, []Resource{{URI: "git+https://example.org", Digest: map[string]string{"gitCommit": "ab"}}})
	if err := Write(dir, key, p); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func TestVerifyProvesARelease(t *testing.T) {
	dir, key := newRelease(t)
	r, err := Verify(dir, public(key))
	if err != nil {
		t.Fatal(err)
	}
	if r.Files != 8 || len(r.SBOMs) != 2 || r.Provenance.BuildDefinition.ExternalParameters["version"] != "1.2.3" {
		t.Fatalf("proved %+v", r)
	}
}

// TestEveryByteOfEveryFileCounts changes each byte of each file: in turn a bit, what
// tells a letter's case and a blank from nothing, and the highest bit.
func TestEveryByteOfEveryFileCounts(t *testing.T) {
	dir, key := newRelease(t)
	names, err := regularFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 9 {
		t.Fatalf("the release holds %v", names)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			changed := append([]byte(nil), whole...)
			changed[i] ^= [...]byte{0x01, 0x20, 0x80}[i%3]
			if err := os.WriteFile(path, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(dir, public(key)); err == nil {
				t.Fatalf("byte %d of %s is %q instead of %q, and nobody noticed", i, name, changed[i], whole[i])
			}
		}
		for what, changed := range map[string][]byte{"cut": whole[:len(whole)-1], "longer": append(append([]byte(nil), whole...), '\n')} {
			if err := os.WriteFile(path, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(dir, public(key)); err == nil {
				t.Fatalf("%s is %s, and nobody noticed", name, what)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(dir, public(key)); err != nil {
		t.Fatalf("all is as it was: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	for _, c := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
		key        ed25519.PrivateKey
	}{
		{name: "another key", want: "not signed with the key", key: other},
		{name: "an added file", want: "extra was added", spoil: func(t *testing.T, dir string) { write(t, dir, "extra", "x") }},
		{name: "a missing file", want: "NOTICE is missing", spoil: func(t *testing.T, dir string) { remove(t, dir, "NOTICE") }},
		{name: "no provenance", want: ProvenanceFile, spoil: func(t *testing.T, dir string) { remove(t, dir, ProvenanceFile) }},
		{name: "a folder", want: "no regular file", spoil: func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a link", want: "no regular file", spoil: func(t *testing.T, dir string) {
			remove(t, dir, "NOTICE")
			if err := os.Symlink("SHA256SUMS", filepath.Join(dir, "NOTICE")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "an SBOM's envelope as provenance", want: predicateSLSA, spoil: func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, "semantic_linux_amd64.cdx.dsse.json"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, ProvenanceFile, string(b))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, key := newRelease(t)
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			if c.key != nil {
				key = c.key
			}
			_, err := Verify(dir, public(key))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, it should tell of %q", err, c.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
