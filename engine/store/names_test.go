package store

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names of tenants and agents come from clients.
var hostileNames = []string{
	"", ".", "..", "../../etc/passwd", "/", "/etc/passwd", "a/b", "a\x00b", "\n", "CON", "nul", "~", "*", "a.kv", "quarantine",
	".lock", strings.Repeat("x", maxName), strings.Repeat("é", maxName/2), "\xff\xfe", "a", "A", "ａ",
}

func TestNoNameLeavesItsFolderOrMeetsAnother(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		outer := t.TempDir()
		o = unsynced(o)
		s := openStore(t, filepath.Join(outer, "cache"), o)
		var agents []Agent
		for i, tenant := range hostileNames {
			for j, id := range hostileNames {
				agents = append(agents, makeAgent(tenant, id, i*100+j, 3))
			}
		}
		write(t, s, agents...)
		wantServed(t, s, agents...)
		s = reopen(t, s, o)
		wantServed(t, s, agents...)
		if n := len(s.List()); n != len(agents) {
			t.Fatalf("%d agents are listed of %d", n, len(agents))
		}
		if s.ring.agentName("a", "\x00\x00\x00\x00b") == s.ring.agentName("a\x00\x00\x00\x00", "b") {
			t.Error("the names of two agents are hashed to one")
		}
		left, err := os.ReadDir(outer)
		if err != nil || len(left) != 1 {
			t.Fatalf("beside the folder: %v, %v", left, err)
		}
	})
}

func TestNothingIsReadableByOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := openStore(t, dir, small(testKey))
	write(t, s, makeAgent("acme", "a", 1, 5))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, not %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyHidesNamesTokensAndBlocks(t *testing.T) {
	a := makeAgent("tenant of the test", "agent of the test", 1, 40)
	secrets := map[string][]byte{"tenant": []byte(a.Tenant), "id": []byte(a.ID), "block": a.Blocks[3][:32]}
	secrets["tokens"] = appendTokens(nil, &sealer{}, a.Tokens)[:24]
	for _, key := range [][]byte{nil, testKey} {
		s := openStore(t, t.TempDir(), small(key))
		write(t, s, a)
		b, err := os.ReadFile(s.path(a.Tenant, a.ID))
		if err != nil {
			t.Fatal(err)
		}
		for what, secret := range secrets {
			if found := bytes.Contains(b, secret); found != (key == nil) {
				t.Errorf("key %v: the file has the %s: %v", key != nil, what, found)
			}
		}
	}
	plain, keyed := openStore(t, t.TempDir(), small(nil)), openStore(t, t.TempDir(), small(testKey))
	if filepath.Base(plain.path("a", "b")) == filepath.Base(keyed.path("a", "b")) {
		t.Error("with a key the file's name can still be guessed from the agent's")
	}
}

func TestTwoFilesOfOneAgentShareNoCiphertext(t *testing.T) {
	s := openStore(t, t.TempDir(), small(testKey))
	a := makeAgent("acme", "a", 1, 20)
	seen := map[string]bool{}
	for range 2 {
		write(t, s, a)
		b, err := os.ReadFile(s.path("acme", "a"))
		if err != nil {
			t.Fatal(err)
		}
		for b = b[preludeSize:]; len(b) >= 16; b = b[16:] {
			if seen[string(b[:16])] && !isZero(b[:16]) { // of the zeros between the parts
				t.Fatal("a nonce and key were used twice")
			}
			seen[string(b[:16])] = true
		}
	}
}

func TestKeyFileIsRawOrHexadecimal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for content, want := range map[string]bool{
		string(testKey): true, strings.Repeat("07", 32): true, strings.Repeat("07", 32) + "\n": true,
		"": false, strings.Repeat("7", 31): false, strings.Repeat("0g", 32): false, strings.Repeat("07", 33): false,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := ReadKeyFile(path)
		if (err == nil) != want || want && !bytes.Equal(key, testKey) {
			t.Errorf("%q: %x, %v", content, key, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "--cache-key-file") || content != "" && strings.Contains(err.Error(), content)) {
			t.Errorf("the error does not name the flag, or tells the key: %v", err)
		}
	}
}
