package main

import (
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	startTime   = time.Second // by then a process is up
	startMemory = 96 << 20    // bytes of garbage and all else at which it is collected even while a process starts
)

// holdGarbage leaves the garbage of a process's start lying, and returns what has it collected from
// now on; by itself that happens when the start is over. A pod starts four processes at the same
// moment, and their collectors would take a sixth of the time until it is ready for a few megabytes.
// GOGC and GOMEMLIMIT in the environment go before it.
func holdGarbage() (collect func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit := debug.SetMemoryLimit(startMemory)
	percent := debug.SetGCPercent(-1)
	collect = sync.OnceFunc(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	time.AfterFunc(startTime, collect)
	return collect
}

// garbageHeld is holdGarbage for a process, which starts once.
var garbageHeld = sync.OnceValue(holdGarbage)
