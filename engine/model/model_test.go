package model

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
)

const (
	defaultModel = "smollm2-135m-instruct-q4_1.gguf"
	floatModel   = "smollm2-135m-instruct-f32.gguf"
	bytesModel   = "smollm2-135m-instruct-q8_0.gguf"
)

// modelPath finds a model file in the repository's models folder.
func modelPath(t testing.TB, name, recipe string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	path := filepath.Join(dir, "models", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("cannot find %s: run: %s", path, recipe)
	}
	return path
}

func loadModel(t testing.TB, path string, o Options) *Model {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Load(f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func newPool(t testing.TB, m *Model, blocks int) *Pool {
	t.Helper()
	p, err := m.NewPool(blocks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// blockTable returns count blocks from first on.
func blockTable(first, count int) []int32 {
	table := make([]int32, count)
	for i := range table {
		table[i] = int32(first + i)
	}
	return table
}
