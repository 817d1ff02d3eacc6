package gguf

import (
	"fmt"
	"math/bits"
	"slices"
)

const defaultAlignment = 32

// locate gives each tensor its bytes, after checking that they are in the file, aligned, and no
// other tensor's.
func (f *File) locate(c *cursor) error {
	alignment := uint64(defaultAlignment)
	if _, ok := f.values["general.alignment"]; ok {
		a, ok := f.Uint("general.alignment")
		if !ok || a == 0 || a > 1<<20 || bits.OnesCount64(a) != 1 {
			return fmt.Errorf("corrupt: general.alignment is %d, not a power of two up to 1 MiB", a)
		}
		alignment = a
	}
	start := (uint64(c.at) + alignment - 1) &^ (alignment - 1)
	for _, t := range f.tensors {
		size, err := t.bytes()
		if err != nil {
			return err
		}
		if t.offset%alignment != 0 {
			return fmt.Errorf("corrupt: tensor %s is at offset %d, which is not aligned to %d", t.Name, t.offset, alignment)
		}
		have := uint64(len(c.data))
		if start > have || t.offset > have-start || size > have-start-t.offset {
			return fmt.Errorf("truncated in the data of tensor %s: %d bytes wanted at offset %d+%d, the file has %d", t.Name, size, start, t.offset, have)
		}
		at := start + t.offset
		t.Data = c.data[at : at+size : at+size]
	}
	return f.checkOverlap()
}

// bytes returns the size of the tensor's data.
func (t *Tensor) bytes() (uint64, error) {
	elems, size := t.Type.Block()
	if elems == 0 {
		return 0, fmt.Errorf("tensor %s has %v, which this version does not know", t.Name, t.Type)
	}
	if t.Shape[0]%elems != 0 {
		return 0, fmt.Errorf("corrupt: rows of tensor %s have %d elements, not a multiple of the %d of a %v block", t.Name, t.Shape[0], elems, t.Type)
	}
	n := uint64(t.Shape[0]/elems) * uint64(size)
	for _, d := range t.Shape[1:] {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("corrupt: the shape %v of tensor %s is larger than any memory", t.Shape, t.Name)
		}
		n = lo
	}
	return n, nil
}

func (f *File) checkOverlap() error {
	byOffset := slices.Clone(f.tensors)
	slices.SortFunc(byOffset, func(a, b *Tensor) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return 0
	})
	for i, t := range byOffset[:max(len(byOffset)-1, 0)] {
		if next := byOffset[i+1]; t.offset+uint64(len(t.Data)) > next.offset {
			return fmt.Errorf("corrupt: tensors %s and %s overlap", t.Name, next.Name)
		}
	}
	return nil
}
