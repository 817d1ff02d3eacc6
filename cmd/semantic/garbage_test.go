package main

import (
	"runtime/debug"
	"testing"
)

func TestGarbageOfAStartIsHeldAndNoLonger(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	garbageHeld()() // of tests before
	percent, limit := collector()
	if percent < 0 || limit <= startMemory {
		t.Fatalf("before a start GOGC is %d and the limit %d bytes", percent, limit)
	}
	collect := holdGarbage()
	if p, l := collector(); p >= 0 || l != startMemory {
		t.Errorf("in a start GOGC is %d and the limit %d bytes, want none and %d", p, l, startMemory)
	}
	collect()
	if p, l := collector(); p != percent || l != limit {
		t.Errorf("after a start GOGC is %d and the limit %d bytes, want %d and %d as before", p, l, percent, limit)
	}
}

func TestSettingsOfTheCollectorGoBeforeAStart(t *testing.T) {
	garbageHeld()()
	percent, limit := collector()
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "100")
			defer holdGarbage()()
			if p, l := collector(); p != percent || l != limit {
				t.Errorf("GOGC is %d and the limit %d bytes, want %d and %d", p, l, percent, limit)
			}
		})
	}
}

// collector tells how the runtime collects garbage.
func collector() (percent int, limit int64) {
	percent = debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	return percent, debug.SetMemoryLimit(-1)
}
