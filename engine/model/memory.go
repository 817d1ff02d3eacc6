package model

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is memory from the system itself, zeroed and outside the garbage collector's sight: the
// weights and the KV blocks would only make its work larger.
type region struct {
	mapped []byte
	bytes  []byte // the part in use, which begins on the border of a large page
}

const largePage = 2 << 20

func newRegion(size int) (*region, error) {
	mapped, err := unix.Mmap(-1, 0, size+largePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("cannot get %d bytes of memory: %w", size, err)
	}
	skip := -int(uintptr(unsafe.Pointer(&mapped[0]))) & (largePage - 1)
	r := &region{mapped: mapped, bytes: mapped[skip : skip+size : skip+size]}
	adviseLargePages(r.bytes)
	return r, nil
}

func (r *region) free() error {
	if r == nil || r.mapped == nil {
		return nil
	}
	mapped := r.mapped
	r.mapped, r.bytes = nil, nil
	return unix.Munmap(mapped)
}
