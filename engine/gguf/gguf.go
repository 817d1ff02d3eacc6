// Package gguf reads GGUF model files, versions 2 and 3, through a memory map.
//
// A file is not trusted: every count, length and offset is checked against the bytes that are
// really there before it is used, so that a truncated or hostile file gives an error that names
// the place, never a panic or an allocation of the size that it claims.
//
// Read: gguf.go (a file and its metadata), parse.go (header, metadata, tensors), check.go (where
// tensors may lie), types.go (tensor and value types), map.go (the memory map).
package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// File is an open model file. Its tensors' data is the mapped file itself.
type File struct {
	path    string
	version uint32
	values  map[string]value
	keys    []string
	tensors []*Tensor
	byName  map[string]*Tensor
	unmap   func() error
	release func() error
}

// Tensor is one tensor of the file. Shape is in the file's order: the first dimension is the
// one whose elements lie side by side.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int
	Data   []byte // valid until the file is closed
	offset uint64
}

// Rows returns the product of all dimensions but the first.
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= d
	}
	return n
}

// Open maps the file at path and reads its metadata and its list of tensors.
func Open(path string) (*File, error) {
	data, unmap, release, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open model file: %w", err)
	}
	f, err := Parse(data)
	if err != nil {
		_ = unmap()
		return nil, fmt.Errorf("cannot read model file %s: %w", path, err)
	}
	f.path, f.unmap, f.release = path, unmap, release
	return f, nil
}

// Close unmaps the file. The data of its tensors must not be touched afterwards.
func (f *File) Close() error {
	if f.unmap == nil {
		return nil
	}
	unmap := f.unmap
	f.unmap, f.release = nil, nil
	return unmap()
}

// Release lets the system take back the memory of pages that were read. The file stays open and
// readable; call it when the weights have been copied out.
func (f *File) Release() error {
	if f.release == nil {
		return nil
	}
	return f.release()
}

// Path returns where the file was opened.
func (f *File) Path() string { return f.path }

// Version returns the GGUF version of the file.
func (f *File) Version() int { return int(f.version) }

// Keys returns the metadata keys in the order of the file.
func (f *File) Keys() []string { return f.keys }

// Tensors returns all tensors in the order of the file.
func (f *File) Tensors() []*Tensor { return f.tensors }

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	t, ok := f.byName[name]
	return t, ok
}

// value is one metadata value, still encoded: what nobody asks for costs nothing to decode.
type value struct {
	kind  kind
	elem  kind // of an array
	count int  // of an array
	raw   []byte
}

// String returns a string value. Its bytes are as in the file and need not be UTF-8.
func (f *File) String(key string) (string, bool) {
	v, ok := f.values[key]
	if !ok || v.kind != kindString {
		return "", false
	}
	return string(v.raw), true
}

// Bool returns a boolean value.
func (f *File) Bool(key string) (b, ok bool) {
	v, ok := f.values[key]
	if !ok || v.kind != kindBool {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Uint returns an integer value of any width that is not negative.
func (f *File) Uint(key string) (uint64, bool) {
	v, ok := f.values[key]
	if !ok {
		return 0, false
	}
	n, ok := integer(v.kind, v.raw)
	if !ok || (n < 0 && v.kind != kindUint64) {
		return 0, false
	}
	return uint64(n), true
}

// Float returns a floating-point value of either width.
func (f *File) Float(key string) (float64, bool) {
	v, ok := f.values[key]
	if !ok {
		return 0, false
	}
	return float(v.kind, v.raw)
}

// Strings returns an array of strings. All of them share one copy of the array's bytes, so that
// a vocabulary costs two allocations.
func (f *File) Strings(key string) ([]string, bool) {
	v, ok := f.values[key]
	if !ok || v.kind != kindArray || v.elem != kindString {
		return nil, false
	}
	all, out := string(v.raw), make([]string, v.count)
	at := 0
	for i := range out {
		n := int(binary.LittleEndian.Uint64(v.raw[at:]))
		out[i] = all[at+8 : at+8+n]
		at += 8 + n
	}
	return out, true
}

// Ints returns an array of integers of any width (booleans count as 0 and 1).
func (f *File) Ints(key string) ([]int64, bool) {
	v, ok := f.values[key]
	if !ok || v.kind != kindArray {
		return nil, false
	}
	if _, ok := integer(v.elem, make([]byte, 8)); !ok {
		return nil, false
	}
	size := v.elem.size()
	out := make([]int64, v.count)
	for i := range out {
		out[i], _ = integer(v.elem, v.raw[i*size:])
	}
	return out, true
}

// Floats returns an array of floating-point values of either width.
func (f *File) Floats(key string) ([]float64, bool) {
	v, ok := f.values[key]
	if !ok || v.kind != kindArray || (v.elem != kindFloat32 && v.elem != kindFloat64) {
		return nil, false
	}
	size := v.elem.size()
	out := make([]float64, v.count)
	for i := range out {
		out[i], _ = float(v.elem, v.raw[i*size:])
	}
	return out, true
}

func integer(k kind, raw []byte) (int64, bool) {
	switch k {
	case kindUint8, kindBool:
		return int64(raw[0]), true
	case kindInt8:
		return int64(int8(raw[0])), true
	case kindUint16:
		return int64(binary.LittleEndian.Uint16(raw)), true
	case kindInt16:
		return int64(int16(binary.LittleEndian.Uint16(raw))), true
	case kindUint32:
		return int64(binary.LittleEndian.Uint32(raw)), true
	case kindInt32:
		return int64(int32(binary.LittleEndian.Uint32(raw))), true
	case kindUint64, kindInt64:
		return int64(binary.LittleEndian.Uint64(raw)), true
	}
	return 0, false
}

func float(k kind, raw []byte) (float64, bool) {
	switch k {
	case kindFloat32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), true
	case kindFloat64:
		return math.Float64frombits(binary.LittleEndian.Uint64(raw)), true
	}
	return 0, false
}
