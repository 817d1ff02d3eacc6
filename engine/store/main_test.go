package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// roleVariable makes the test binary play another process.
const roleVariable = "SEMANTIC_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "full disk":
		fillDisk()
	case "write for ever":
		writeForEver()
	case "hold":
		holdStore()
	}
}

// role returns the test binary as another process; args follow its name.
func role(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

var (
	smallGeometry = Geometry{Layers: 2, KVDim: 1, BlockTokens: 4, BlockBytes: 2 * 2 * 1 * 4 * 2}
	testKey       = bytes.Repeat([]byte{7}, keySize)
)

// small returns options for agents of a few hundred bytes.
func small(key []byte) Options {
	return Options{Fingerprint: [32]byte{1, 2, 3}, KVType: "f16", Geometry: smallGeometry, Key: key}
}

// bothWays runs a test without and with a key.
func bothWays(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("plain", func(t *testing.T) { test(t, small(nil)) })
	t.Run("encrypted", func(t *testing.T) { test(t, small(testKey)) })
}

// counted gives the options metrics that belong to the test.
func counted(o Options) Options {
	o.Metrics = NewMetrics(telemetry.NewMetrics("engine"))
	return o
}

func openStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s := openBriefly(t, dir, o)
	t.Cleanup(func() { s.Close() })
	return s
}

// openBriefly leaves the store to be closed by the test, which opens thousands.
func openBriefly(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reopen(t testing.TB, s *Store, o Options) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openStore(t, s.dir, o)
}

// makeAgent makes up an agent of small geometry; another version has other content.
func makeAgent(tenant, id string, version, tokens int) Agent {
	return makeSized(smallGeometry, tenant, id, version, tokens)
}

func makeSized(g Geometry, tenant, id string, version, tokens int) Agent {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%d %s %s", version, tenant, id))
	rng := rand.NewChaCha8(seed)
	a := Agent{Tenant: tenant, ID: id}
	for range tokens {
		a.Tokens = append(a.Tokens, int32(rng.Uint64()>>40))
	}
	for range (tokens + g.BlockTokens - 1) / g.BlockTokens {
		block := make([]byte, g.BlockBytes)
		rng.Read(block)
		a.Blocks = append(a.Blocks, block)
	}
	return a
}

func write(t testing.TB, s *Store, agents ...Agent) {
	t.Helper()
	for _, a := range agents {
		if err := s.Write(context.Background(), a); err != nil {
			t.Fatalf("agent %s: %v", a.ID, err)
		}
	}
}

// read returns all that is on disk of an agent.
func read(s *Store, tenant, id string) (Agent, error) {
	r, err := s.OpenAgent(tenant, id)
	if err != nil {
		return Agent{}, err
	}
	defer r.Close()
	a := Agent{Tenant: tenant, ID: id, Tokens: r.Tokens()}
	for range r.Blocks() {
		a.Blocks = append(a.Blocks, bytes.Repeat([]byte{0xee}, s.opt.Geometry.BlockBytes))
	}
	return a, r.Restore(context.Background(), 0, a.Blocks)
}

func equal(a, b Agent) bool {
	return slices.Equal(a.Tokens, b.Tokens) && slices.EqualFunc(a.Blocks, b.Blocks, bytes.Equal)
}

// wantServed fails unless the agents are served just as they were written.
func wantServed(t testing.TB, s *Store, agents ...Agent) {
	t.Helper()
	for _, a := range agents {
		got, err := read(s, a.Tenant, a.ID)
		if err != nil {
			t.Fatalf("agent %s is not served: %v", a.ID, err)
		}
		if !equal(got, a) {
			t.Fatalf("agent %s is served with another content than was written", a.ID)
		}
	}
}

func wantNone(t testing.TB, s *Store, tenant, id string) {
	t.Helper()
	if _, err := read(s, tenant, id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("agent %s: %v, want ErrNotFound", id, err)
	}
}

// wantBad fails unless the agent is refused for the reason, put aside, and unknown from then on.
func wantBad(t testing.TB, s *Store, tenant, id string, want Reason) {
	t.Helper()
	before := s.metrics.quarantined[want].Get()
	if _, err := read(s, tenant, id); !isBad(err, want) {
		t.Fatalf("agent %s: %v, want reason %s", id, err, want)
	}
	if n := s.metrics.quarantined[want].Get() - before; n != 1 {
		t.Fatalf("counted %d times as %s", n, want)
	}
	wantNone(t, s, tenant, id)
}

func isBad(err error, want Reason) bool {
	fe, ok := asFileError(err)
	return ok && fe.Reason == want
}

// wantAccounts fails unless Used is what lies in the folder.
func wantAccounts(t testing.TB, s *Store) {
	t.Helper()
	onDisk := sizes(t, s.files, s.dir)
	if used := s.Used(); used != onDisk {
		t.Fatalf("%d bytes are said to be used, %d are", used, onDisk)
	}
}

// sizes adds up the files in a folder and below.
func sizes(t testing.TB, files fileSystem, dir string) (sum int64) {
	t.Helper()
	list, err := files.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		info, err := d.Info()
		switch {
		case err != nil:
			t.Fatal(err)
		case d.IsDir():
			sum += sizes(t, files, filepath.Join(dir, d.Name()))
		case d.Type().IsRegular() && d.Name() != ".lock":
			sum += info.Size()
		}
	}
	return sum
}

// ids lists the agents on disk as "tenant/id".
func ids(s *Store) string {
	var list []string
	for _, info := range s.List() {
		list = append(list, info.Tenant+"/"+info.ID)
	}
	return strings.Join(list, " ")
}

func unsynced(o Options) Options {
	o.files = lazy{}
	return o
}

// lazy is the real file system, but syncs nothing: tests that kill processes and not machines
// need no syncs, and thousands of them take minutes.
type lazy struct{ disk }

func (lazy) SyncFolder(string) error { return nil }

func (l lazy) Create(path string) (file, error) {
	f, err := l.disk.Create(path)
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

type lazyFile struct{ file }

func (lazyFile) Sync() error { return nil }

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }

func newClock() *clock { return &clock{time.Now().Truncate(time.Second)} }
