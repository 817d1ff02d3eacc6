package store

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// populate makes a folder of many agents of some tenants.
func populate(t testing.TB, o Options, agents int) string {
	dir := t.TempDir()
	s := openStore(t, dir, unsynced(o))
	for i := range agents {
		write(t, s, makeAgent(fmt.Sprint("tenant ", i%50), fmt.Sprint("agent ", i), 1, 10))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opener counts the files that are opened and what is read of them.
type opener struct {
	disk
	files, bytes *atomic.Int64
}

func (o opener) Open(path string) (file, error) {
	o.files.Add(1)
	f, err := o.disk.Open(path)
	return &countedFile{f, o.bytes}, err
}

type countedFile struct {
	file
	bytes *atomic.Int64
}

func (f *countedFile) ReadAt(b []byte, at int64) (int, error) {
	f.bytes.Add(int64(len(b)))
	return f.file.ReadAt(b, at)
}

func TestTenThousandAgentsAreIndexedInASecondByTheirHeads(t *testing.T) {
	agents := 10_000
	if underRace { // which takes several times as long
		agents = 1000
	}
	o := small(testKey) // the slower way
	dir := populate(t, o, agents)
	count := opener{files: &atomic.Int64{}, bytes: &atomic.Int64{}}
	o.files = count
	best := time.Hour
	tries := 0
	for ; tries < 10 && best > time.Second; tries++ { // other tests run meanwhile
		s := openBriefly(t, dir, o)
		if r := s.Report(); r.Agents != agents {
			t.Fatalf("found %+v", r)
		}
		best = min(best, s.Report().Took)
		s.Close()
	}
	t.Logf("%d agents in %s", agents, best)
	if best > 10*time.Second { // the goal is one; the machine may be another's too
		t.Errorf("indexing %d agents took %s", agents, best)
	}
	if n := count.files.Load() / int64(tries); n != int64(agents) {
		t.Errorf("%d files were opened for %d agents", n, agents)
	}
	if n := count.bytes.Load() / int64(tries*agents); n > maxHead {
		t.Errorf("%d bytes were read of each file", n)
	}
}

// BenchmarkIndex opens a folder of 10,000 agents, with the heads in the page cache and without.
func BenchmarkIndex(b *testing.B) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": testKey} {
		o := small(key)
		dir := populate(b, o, 10_000)
		for _, cold := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cold=%v", name, cold), func(b *testing.B) {
				for b.Loop() {
					if cold {
						b.StopTimer()
						forgetCached(b, dir)
						b.StartTimer()
					}
					openBriefly(b, dir, o).Close()
				}
			})
		}
	}
}

// forgetCached drops what the files of a folder hold from the page cache.
func forgetCached(b *testing.B, dir string) {
	must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}))
}
