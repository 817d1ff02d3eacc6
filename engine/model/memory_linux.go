package model

import "golang.org/x/sys/unix"

// adviseLargePages asks for pages of 2 MiB: a pass over the weights then misses the CPU's table
// of pages hundreds of times less. It is advice; a kernel without them says no, and all works.
func adviseLargePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
