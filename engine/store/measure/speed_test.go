package measure

import (
	"bytes"
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/engine/store"
)

// bench runs a benchmark over a store that has the agent of 2,000 tokens, plain and encrypted.
func bench(b *testing.B, run func(b *testing.B, s *store.Store, dir string, a store.Agent)) {
	real := computeReal(b)
	a := store.Agent{Tenant: "acme", ID: "agent", Tokens: real.tokens, Blocks: real.blocks}
	for name, key := range map[string][]byte{"plain": nil, "encrypted": bytes.Repeat([]byte{7}, 32)} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			s, err := store.Open(dir, store.Options{KVType: "f16", Geometry: real.geometry, Key: key})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			write(b, s, a)
			b.SetBytes(s.Used())
			run(b, s, dir, a)
		})
	}
}

func write(b *testing.B, s *store.Store, a store.Agent) {
	if err := s.Write(context.Background(), a); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	bench(b, func(b *testing.B, s *store.Store, _ string, a store.Agent) {
		b.ReportAllocs()
		for b.Loop() {
			write(b, s, a)
		}
	})
}

// BenchmarkRead opens and restores the agent, its file in the page cache.
func BenchmarkRead(b *testing.B) {
	bench(b, func(b *testing.B, s *store.Store, _ string, a store.Agent) {
		memory := room(a)
		b.ReportAllocs()
		for b.Loop() {
			restore(b, s, a, memory)
		}
	})
}

// BenchmarkReadCold does it with the file dropped from the page cache each time.
func BenchmarkReadCold(b *testing.B) {
	bench(b, func(b *testing.B, s *store.Store, dir string, a store.Agent) {
		memory := room(a)
		for b.Loop() {
			b.StopTimer()
			forgetCached(b, dir)
			b.StartTimer()
			restore(b, s, a, memory)
		}
	})
}

// room returns memory that is there already, as the pool's is.
func room(a store.Agent) [][]byte {
	memory := make([][]byte, len(a.Blocks))
	for i, block := range a.Blocks {
		memory[i] = bytes.Clone(block)
	}
	return memory
}

func restore(b *testing.B, s *store.Store, a store.Agent, memory [][]byte) {
	r, err := s.OpenAgent(a.Tenant, a.ID)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if err := r.Restore(context.Background(), 0, memory); err != nil {
		b.Fatal(err)
	}
}

// forgetCached drops the agents' files from the page cache.
func forgetCached(b *testing.B, dir string) {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".kv") {
			return err
		}
		f, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(f)
		return unix.Fadvise(f, 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		b.Fatal(err)
	}
}
