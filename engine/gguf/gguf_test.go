package gguf_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/gguf/ggufmake"
)

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, data []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Open(write(t, data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// everything returns a file with a metadata value of each type and two tensors.
func everything() *ggufmake.File {
	f := &ggufmake.File{Alignment: 64}
	f.Set("u8", uint8(200))
	f.Set("i8", int8(-3))
	f.Set("u16", uint16(60000))
	f.Set("i16", int16(-300))
	f.Set("u32", uint32(4e9))
	f.Set("i32", int32(-70000))
	f.Set("f32", float32(1.5))
	f.Set("bool", true)
	f.Set("string", "a\xffb")
	f.SetArray("strings", "", "two", "three")
	f.SetArray("ints", int16(-1), int16(2))
	f.SetArray("floats", float32(0.25), float32(-8))
	f.Set("u64", uint64(math.MaxUint64))
	f.Set("i64", int64(-1<<40))
	f.Set("f64", 2.5)
	f.Set("general.alignment", uint32(64))
	f.Tensor("a", uint32(gguf.F32), bytes.Repeat([]byte{1}, 24), 3, 2)
	f.Tensor("b", uint32(gguf.Q4_1), bytes.Repeat([]byte{2}, 40), 64)
	return f
}

func TestEveryMetadataTypeIsRead(t *testing.T) {
	for version := uint32(2); version <= 3; version++ {
		made := everything()
		made.Version = version
		f := open(t, made.Bytes())
		for key, want := range map[string]uint64{"u8": 200, "u16": 60000, "u32": 4e9, "u64": math.MaxUint64} {
			if got, ok := f.Uint(key); !ok || got != want {
				t.Errorf("%s is %d, %t; want %d", key, got, ok, want)
			}
		}
		for _, key := range []string{"i8", "i16", "i32", "i64", "f32", "string", "ints", "absent"} {
			if got, ok := f.Uint(key); ok {
				t.Errorf("%s is read as the natural number %d", key, got)
			}
		}
		for key, want := range map[string]float64{"f32": 1.5, "f64": 2.5} {
			if got, ok := f.Float(key); !ok || got != want {
				t.Errorf("%s is %g, %t; want %g", key, got, ok, want)
			}
		}
		if got, ok := f.Bool("bool"); !ok || !got {
			t.Errorf("bool is %t, %t", got, ok)
		}
		if got, ok := f.String("string"); !ok || got != "a\xffb" {
			t.Errorf("string is %q, %t", got, ok)
		}
		if got, ok := f.Strings("strings"); !ok || !reflect.DeepEqual(got, []string{"", "two", "three"}) {
			t.Errorf("strings are %q, %t", got, ok)
		}
		if got, ok := f.Ints("ints"); !ok || !reflect.DeepEqual(got, []int64{-1, 2}) {
			t.Errorf("ints are %v, %t", got, ok)
		}
		if got, ok := f.Floats("floats"); !ok || !reflect.DeepEqual(got, []float64{0.25, -8}) {
			t.Errorf("floats are %v, %t", got, ok)
		}
		if got := len(f.Keys()); got != 16 || f.Version() != int(version) {
			t.Errorf("%d keys of version %d", got, f.Version())
		}
	}
}

func TestTensorsAreFoundWhereTheyLie(t *testing.T) {
	f := open(t, everything().Bytes())
	a, _ := f.Tensor("a")
	b, ok := f.Tensor("b")
	if !ok || len(f.Tensors()) != 2 {
		t.Fatalf("%d tensors", len(f.Tensors()))
	}
	if a.Type != gguf.F32 || !reflect.DeepEqual(a.Shape, []int{3, 2}) || a.Rows() != 2 || !bytes.Equal(a.Data, bytes.Repeat([]byte{1}, 24)) {
		t.Errorf("tensor a is %v %v %v", a.Type, a.Shape, a.Data)
	}
	if b.Type != gguf.Q4_1 || !reflect.DeepEqual(b.Shape, []int{64}) || b.Rows() != 1 || !bytes.Equal(b.Data, bytes.Repeat([]byte{2}, 40)) {
		t.Errorf("tensor b is %v %v %v", b.Type, b.Shape, b.Data)
	}
	if _, ok := f.Tensor("c"); ok {
		t.Error("a tensor c is found")
	}
	if err := f.Release(); err != nil {
		t.Error(err)
	}
	if b.Data[0] != 2 {
		t.Error("the data is gone after Release")
	}
}

func TestFileThatCannotBeOpenedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(dir, "none.gguf"), "no such file"},
		"directory": {dir, "not a regular file"},
		"empty":     {write(t, nil), "is empty"},
		"other":     {write(t, []byte("PK\x03\x04 and so on")), "not a GGUF file"},
		"one byte":  {write(t, []byte("G")), "not a GGUF file"},
	} {
		_, err := gguf.Open(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q and the path", name, err, c.want)
		}
	}
	if _, err := gguf.Open(write(t, []byte("not a model"))); !errors.Is(err, gguf.ErrNotGGUF) {
		t.Errorf("%v is no ErrNotGGUF", err)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	data := everything().Bytes()
	last := len(data) - 24 // what follows the last tensor is padding
	for n := range last {
		f, err := gguf.Open(write(t, data[:n]))
		if err == nil {
			_ = f.Close()
			t.Fatalf("a file cut to %d of %d bytes is opened", n, len(data))
		}
		if n >= 4 && !strings.Contains(err.Error(), "truncated") {
			t.Fatalf("cut to %d bytes: %v, want it to say truncated", n, err)
		}
	}
}
