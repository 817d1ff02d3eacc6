package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what a process has used of the processors, to the nanosecond: from
// its own clock, whose number the kernel makes from its id.
func processorTime(pid int) (time.Duration, error) {
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("cannot read the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
