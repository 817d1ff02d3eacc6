package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/gguf/ggufmake"
)

func TestHostileFileIsRefusedByName(t *testing.T) {
	for want, make := range map[string]func(f *ggufmake.File){
		"version 1 is not supported":        func(f *ggufmake.File) { f.Version = 1 },
		"version 4 is not supported":        func(f *ggufmake.File) { f.Version = 4 },
		"big-endian":                        func(f *ggufmake.File) { f.Version = 3 << 24 },
		"tensor count claims":               func(f *ggufmake.File) { f.TensorCount = 1 << 60 },
		"the header claims 200 tensors":     func(f *ggufmake.File) { f.TensorCount = 200; f.Set("pad", strings.Repeat("x", 500)) },
		"metadata count claims":             func(f *ggufmake.File) { f.PairCount = math.MaxUint64 },
		"metadata x claims":                 func(f *ggufmake.File) { f.Raw("x", ggufmake.String, uint64(1<<62)) },
		"metadata y claims":                 func(f *ggufmake.File) { f.Raw("y", ggufmake.Array, uint32(ggufmake.Uint8), uint64(1<<63)) },
		"metadata z claims":                 func(f *ggufmake.File) { f.Raw("z", ggufmake.Array, uint32(ggufmake.Float64), uint64(1<<61)) },
		"truncated in metadata w":           func(f *ggufmake.File) { f.Raw("w", ggufmake.Array, uint32(ggufmake.String), uint64(1), uint64(1<<63)) },
		"array of arrays":                   func(f *ggufmake.File) { f.Raw("v", ggufmake.Array, uint32(ggufmake.Array), uint64(1)) },
		"an array of type 77":               func(f *ggufmake.File) { f.Raw("v", ggufmake.Array, uint32(77), uint64(0)) },
		"metadata u at offset":              func(f *ggufmake.File) { f.Raw("u", 13) },
		"a bool of value 2":                 func(f *ggufmake.File) { f.Raw("t", ggufmake.Bool, uint8(2)) },
		`key "twice" is there twice`:        func(f *ggufmake.File) { f.Set("twice", uint8(1)); f.Set("twice", uint8(1)) },
		"metadata key 0 at offset":          func(f *ggufmake.File) { f.Set(strings.Repeat("k", 1<<17), uint8(1)) },
		"general.alignment is 48":           func(f *ggufmake.File) { f.Set("general.alignment", uint32(48)) },
		"general.alignment is 0":            func(f *ggufmake.File) { f.Set("general.alignment", "32") },
		"tensor a has 0 dimensions":         func(f *ggufmake.File) { f.TensorAt("a", 0, 0) },
		"tensor b has 5 dimensions":         func(f *ggufmake.File) { f.TensorAt("b", 0, 0, 1, 1, 1, 1, 1) },
		"tensor c has a dimension of 0":     func(f *ggufmake.File) { f.TensorAt("c", 0, 0, 4, 0) },
		"larger than any memory":            func(f *ggufmake.File) { f.TensorAt("d", 0, 0, 1<<30, 1<<30, 1<<30) },
		"tensor e has type 4711":            func(f *ggufmake.File) { f.TensorAt("e", 4711, 0, 4) },
		"not a multiple of the 32":          func(f *ggufmake.File) { f.TensorAt("f", uint32(gguf.Q4_1), 0, 33) },
		"not aligned to 32":                 func(f *ggufmake.File) { f.TensorAt("g", 0, 4, 4) },
		"in the data of tensor h":           func(f *ggufmake.File) { f.TensorAt("h", 0, 1<<40, 4) },
		"in the data of tensor i":           func(f *ggufmake.File) { f.TensorAt("i", 0, math.MaxUint64-31, 4) },
		"tensor k is there twice":           func(f *ggufmake.File) { f.TensorAt("k", 0, 0, 4); f.TensorAt("k", 0, 32, 4) },
		"tensors l and m overlap":           func(f *ggufmake.File) { f.Tensor("l", 0, bytes.Repeat([]byte{0}, 64), 16); f.TensorAt("m", 0, 32, 8) },
		"truncated in the data of tensor n": func(f *ggufmake.File) { f.Tensor("n", 0, nil, 4) },
	} {
		f := &ggufmake.File{}
		make(f)
		opened, err := gguf.Open(write(t, f.Bytes()))
		if err == nil {
			_ = opened.Close()
			t.Errorf("opened what should be refused with %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
}

func TestLyingCountAllocatesLittle(t *testing.T) {
	f := &ggufmake.File{TensorCount: 1 << 20, PairCount: 1 << 20}
	f.Raw("x", ggufmake.Array, uint32(ggufmake.String), uint64(1<<17))
	data := append(f.Bytes(), make([]byte, 1<<20)...)
	path := write(t, data)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := gguf.Open(path)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Fatal("a lying file is opened")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes allocated on the word of a file of %d (%v)", grown, len(data), err)
	}
}

func FuzzParse(f *testing.F) {
	whole := everything().Bytes()
	f.Add(whole)
	for i := 4; i < len(whole); i += 11 {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0xff
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Parse(data)
		if err != nil {
			return
		}
		for _, tensor := range file.Tensors() {
			_ = bytes.Clone(tensor.Data) // must be there to be read
		}
		for _, key := range file.Keys() {
			_, _ = file.String(key)
			_, _ = file.Bool(key)
			_, _ = file.Uint(key)
			_, _ = file.Float(key)
			_, _ = file.Strings(key)
			_, _ = file.Ints(key)
			_, _ = file.Floats(key)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	f := &ggufmake.File{}
	tokens := make([]any, 50000)
	for i := range tokens {
		tokens[i] = string(binary.AppendUvarint(nil, uint64(i+1e6)))
	}
	f.SetArray("tokens", tokens...)
	path := write(b, f.Bytes())
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if s, ok := f.Strings("tokens"); !ok || len(s) != len(tokens) {
			b.Fatal("no tokens")
		}
		_ = f.Close()
	}
}
