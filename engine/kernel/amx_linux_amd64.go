package kernel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// amxAllowed asks the system for the tiles, whose state it does not keep for a process that has not
// asked. The answer holds for all threads.
var amxAllowed = sync.OnceValue(func() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
})
