// Package ggufmake writes GGUF files for tests, whole ones and ones that are wrong in a chosen
// place.
package ggufmake

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// File is what will be written. The zero value is an empty file of version 3.
type File struct {
	Version     uint32 // 3 if it is 0
	Alignment   int    // of the tensors' data; 32 if it is 0
	TensorCount uint64 // what the header claims; the true count if it is 0
	PairCount   uint64

	pairs, infos, data bytes.Buffer
	nPairs, nTensors   uint64
}

// Types of metadata values.
const (
	Uint8 = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
)

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			put(b, uint64(len(s)))
			b.WriteString(s)
			continue
		}
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(fmt.Sprintf("cannot write a %T: %v", v, err))
		}
	}
}

// typeOf returns the metadata type of a Go value.
func typeOf(v any) uint32 {
	switch v.(type) {
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case uint32:
		return Uint32
	case int32:
		return Int32
	case float32:
		return Float32
	case bool:
		return Bool
	case string:
		return String
	case uint64:
		return Uint64
	case int64:
		return Int64
	case float64:
		return Float64
	}
	panic(fmt.Sprintf("GGUF has no type for a %T", v))
}

// Set adds a metadata value of the Go value's type.
func (f *File) Set(key string, v any) {
	f.Raw(key, typeOf(v), v)
}

// SetArray adds an array, whose elements are all of the first one's type.
func (f *File) SetArray(key string, values ...any) {
	f.Raw(key, Array, append([]any{typeOf(values[0]), uint64(len(values))}, values...)...)
}

// Raw adds a metadata entry of any type and content, which need not make sense.
func (f *File) Raw(key string, kind uint32, content ...any) {
	f.nPairs++
	put(&f.pairs, key, kind)
	put(&f.pairs, content...)
}

// Tensor adds a tensor after those that are there.
func (f *File) Tensor(name string, kind uint32, data []byte, shape ...uint64) {
	f.TensorAt(name, kind, uint64(f.data.Len()), shape...)
	f.data.Write(data)
	for f.data.Len()%f.alignment() != 0 {
		f.data.WriteByte(0)
	}
}

// TensorAt adds the description of a tensor whose data would be at that offset.
func (f *File) TensorAt(name string, kind uint32, offset uint64, shape ...uint64) {
	f.nTensors++
	put(&f.infos, name, uint32(len(shape)), shape, kind, offset)
}

func (f *File) alignment() int {
	if f.Alignment == 0 {
		return 32
	}
	return f.Alignment
}

// Bytes returns the file.
func (f *File) Bytes() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	version, tensors, pairs := f.Version, f.TensorCount, f.PairCount
	if version == 0 {
		version = 3
	}
	if tensors == 0 {
		tensors = f.nTensors
	}
	if pairs == 0 {
		pairs = f.nPairs
	}
	put(&out, version, tensors, pairs)
	out.Write(f.pairs.Bytes())
	out.Write(f.infos.Bytes())
	for out.Len()%f.alignment() != 0 {
		out.WriteByte(0)
	}
	out.Write(f.data.Bytes())
	return out.Bytes()
}
