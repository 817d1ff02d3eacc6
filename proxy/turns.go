package proxy

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// turn is for how long a thread of the proxy wants to run at a time, where others want
// the core too. A request keeps it busy for some microseconds: who asks for short turns
// gets the next one sooner (Linux 6.12 and later; earlier ones take no notice).
const turn = 100 * time.Microsecond

// shortTurns asks the kernel for them, for all threads that there are and those that
// they will start. What it refuses stays as it was.
func shortTurns() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err == nil && attr.Policy == unix.SCHED_NORMAL {
			attr.Runtime = uint64(turn)
			_ = unix.SchedSetAttr(id, attr, 0)
		}
	}
}
