package sidecar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

func testConfig(dir string) Config {
	return Config{Listen: "127.0.0.1:0", RotateBytes: 64 << 10, Keep: 10, CheckInterval: 20 * time.Millisecond, LogDir: dir}
}

// startTest starts a sidecar with its own log beside the one that it looks after.
func startTest(t testing.TB, cfg Config) *Sidecar {
	t.Helper()
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Dir: t.TempDir(), Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	s.archive.stallAfter = 100 * time.Millisecond
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(t, s)
		log.Close()
	})
	return s
}

func stop(t testing.TB, s *Sidecar) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// get answers a request to the sidecar's TCP address.
func get(t testing.TB, s *Sidecar, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// inMemory returns a folder on a tmpfs, where a sync costs nothing.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "semantic-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// openLog opens the log of a process in dir.
func openLog(t testing.TB, dir, process string) *telemetry.Log {
	t.Helper()
	l, err := telemetry.OpenLog(telemetry.LogConfig{Process: process, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// write makes a file of the log folder.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read returns a log file's content, decompressed if it is.
func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) != logchain.ArchiveSuffix {
		return string(data)
	}
	dec, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := io.ReadAll(dec)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(plain)
}

func hashOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// names lists the folder, without the sidecar's lock and manifest.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != ownerName && e.Name() != logchain.FileName {
			names = append(names, e.Name())
		}
	}
	return names
}

// eventually waits for what must come true soon; on a busy machine that is not at
// once, since archiving leaves the CPU to all others.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, is)
}

func within(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
