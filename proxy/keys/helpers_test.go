package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func keyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, path, text)
	return path
}

// write puts a file in place whole, as careful editors do.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes into a file, as careless ones do.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// entry is one key's lines in a file.
func entry(name, key string, more ...string) string {
	lines := append([]string{"- name: " + name, "  tenant: acme", fmt.Sprintf("  sha256: %x", digestOf([]byte(key)))}, more...)
	return strings.Join(lines, "\n") + "\n"
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Table == nil {
		cfg.Table = limit.NewTable(time.Now(), limit.Options{})
	}
	s, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// who tells whom a key belongs to, or why to nobody.
func who(s *Store, key string, at time.Time) string {
	return named(s.Lookup([]byte(key), at))
}

// whoAgain is the same by a connection's memory, the first time and when it remembers.
func whoAgain(s *Store, key string, at time.Time) (first, second string) {
	var m Memory
	first = named(s.LookupAgain(&m, []byte(key), at))
	return first, named(s.LookupAgain(&m, []byte(key), at))
}

func named(id *Identity, why Reason) string {
	if id == nil {
		return "nobody: " + string(why)
	}
	return id.Tenant + "/" + id.Key
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}
