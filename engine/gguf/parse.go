package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrNotGGUF is wrapped by Open when the file is something else altogether.
var ErrNotGGUF = errors.New("not a GGUF file")

const (
	magic        = "GGUF"
	maxDims      = 4
	maxNameBytes = 1 << 16 // of a key or a tensor's name; the specification's own limit
	minEntry     = 8 + 4   // the least bytes that any metadata or tensor entry takes
)

// cursor walks the bytes of a file and remembers where it is, so that errors can say so.
type cursor struct {
	data []byte
	at   int
}

func (c *cursor) left() int { return len(c.data) - c.at }

func (c *cursor) take(n int, what string) ([]byte, error) {
	if n < 0 || n > c.left() {
		return nil, fmt.Errorf("truncated in %s: %d bytes wanted at offset %d, %d are left", what, n, c.at, c.left())
	}
	b := c.data[c.at : c.at+n : c.at+n]
	c.at += n
	return b, nil
}

func (c *cursor) uint32(what string) (uint32, error) {
	b, err := c.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (c *cursor) uint64(what string) (uint64, error) {
	b, err := c.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// length reads a 64-bit count of things that take at least unit bytes each, and refuses one
// that the rest of the file could not hold.
func (c *cursor) length(unit int, what string) (int, error) {
	n, err := c.uint64(what)
	if err != nil {
		return 0, err
	}
	if n > uint64(c.left()/unit) {
		return 0, fmt.Errorf("truncated or corrupt: %s claims %d entries at offset %d, but only %d bytes are left", what, n, c.at-8, c.left())
	}
	return int(n), nil
}

func (c *cursor) string(limit int, what string) ([]byte, error) {
	n, err := c.length(1, what)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("corrupt: %s at offset %d is %d bytes long, more than %d", what, c.at, n, limit)
	}
	return c.take(n, what)
}

// Parse reads a file that is in memory: all but the tensors' data, which it only locates. The
// memory must stay as it is while the file is in use.
func Parse(data []byte) (*File, error) {
	c := &cursor{data: data}
	f := &File{values: map[string]value{}, byName: map[string]*Tensor{}}
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it starts with %q, not %q", ErrNotGGUF, data[:min(len(data), len(magic))], magic)
	}
	c.at = len(magic)
	var err error
	if f.version, err = c.uint32("header"); err != nil {
		return nil, err
	}
	switch {
	case f.version&0xffff == 0 && f.version>>24 != 0:
		return nil, errors.New("a big-endian GGUF file: convert it to little-endian first (gguf-convert-endian)")
	case f.version != 2 && f.version != 3:
		return nil, fmt.Errorf("GGUF version %d is not supported: versions 2 and 3 are", f.version)
	}
	tensors, err := c.length(1, "tensor count")
	if err != nil {
		return nil, err
	}
	pairs, err := c.length(minEntry, "metadata count")
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		if err := f.parsePair(c, i); err != nil {
			return nil, err
		}
	}
	if tensors > c.left()/minEntry {
		return nil, fmt.Errorf("truncated or corrupt: the header claims %d tensors, but only %d bytes are left at offset %d", tensors, c.left(), c.at)
	}
	for i := range tensors {
		if err := f.parseTensor(c, i); err != nil {
			return nil, err
		}
	}
	return f, f.locate(c)
}

func (f *File) parsePair(c *cursor, i int) error {
	name, err := c.string(maxNameBytes, fmt.Sprintf("metadata key %d", i))
	if err != nil {
		return err
	}
	key := string(name)
	k, err := c.uint32("type of metadata " + key)
	if err != nil {
		return err
	}
	v, err := c.value(kind(k), key)
	if err != nil {
		return err
	}
	if _, double := f.values[key]; double {
		return fmt.Errorf("corrupt: metadata key %q is there twice", key)
	}
	f.values[key] = v
	f.keys = append(f.keys, key)
	return nil
}

func (c *cursor) value(k kind, key string) (value, error) {
	what := "metadata " + key
	switch k {
	case kindString:
		raw, err := c.string(math.MaxInt, what)
		return value{kind: k, raw: raw}, err
	case kindArray:
		return c.array(what)
	}
	if k.size() == 0 {
		return value{}, fmt.Errorf("corrupt: %s at offset %d has type %d, which GGUF does not know", what, c.at, k)
	}
	raw, err := c.take(k.size(), what)
	if err == nil && k == kindBool && raw[0] > 1 {
		err = fmt.Errorf("corrupt: %s is a bool of value %d", what, raw[0])
	}
	return value{kind: k, raw: raw}, err
}

func (c *cursor) array(what string) (value, error) {
	e, err := c.uint32(what)
	if err != nil {
		return value{}, err
	}
	v := value{kind: kindArray, elem: kind(e)}
	size := v.elem.size()
	switch {
	case v.elem == kindArray:
		return v, fmt.Errorf("%s is an array of arrays, which is not supported", what)
	case v.elem != kindString && size == 0:
		return v, fmt.Errorf("corrupt: %s is an array of type %d, which GGUF does not know", what, e)
	case v.elem != kindString:
		if v.count, err = c.length(size, what); err != nil {
			return v, err
		}
		v.raw, err = c.take(v.count*size, what)
		return v, err
	}
	if v.count, err = c.length(8, what); err != nil {
		return v, err
	}
	start := c.at
	for range v.count {
		if c.left() < 8 {
			_, err = c.take(8, what)
			return v, err
		}
		n := binary.LittleEndian.Uint64(c.data[c.at:])
		if n > uint64(c.left()-8) {
			return v, fmt.Errorf("truncated in %s: a string of %d bytes at offset %d, %d are left", what, n, c.at, c.left()-8)
		}
		c.at += 8 + int(n)
	}
	v.raw = c.data[start:c.at:c.at]
	return v, nil
}

func (f *File) parseTensor(c *cursor, i int) error {
	name, err := c.string(maxNameBytes, fmt.Sprintf("name of tensor %d", i))
	if err != nil {
		return err
	}
	t := &Tensor{Name: string(name)}
	what := "tensor " + t.Name
	dims, err := c.uint32(what)
	if err != nil {
		return err
	}
	if dims == 0 || dims > maxDims {
		return fmt.Errorf("corrupt: %s has %d dimensions, 1 to %d are possible", what, dims, maxDims)
	}
	for range dims {
		d, err := c.uint64(what)
		if err != nil {
			return err
		}
		if d == 0 || d > math.MaxInt32 {
			return fmt.Errorf("corrupt: %s has a dimension of %d", what, d)
		}
		t.Shape = append(t.Shape, int(d))
	}
	typ, err := c.uint32(what)
	if err != nil {
		return err
	}
	t.Type = Type(typ)
	if t.offset, err = c.uint64(what); err != nil {
		return err
	}
	if _, double := f.byName[t.Name]; double {
		return fmt.Errorf("corrupt: %s is there twice", what)
	}
	f.byName[t.Name] = t
	f.tensors = append(f.tensors, t)
	return nil
}
