package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// What a start leaves lies until the start is over, or somebody has it collected; then all is as it was.
func TestGarbageOfAStartIsHeldAndNoLonger(t *testing.T) {
	collections := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumGC
	}
	collect := holdGarbage()
	if again := holdGarbage(); again == nil {
		t.Fatal("a second call returns nothing to call")
	}
	collect()
	if percent := debug.SetGCPercent(100); percent < 0 {
		t.Fatalf("garbage is still held: GOGC is %d", percent)
	}
	if limit := debug.SetMemoryLimit(-1); limit <= startMemory {
		t.Fatalf("the limit of a start is left: %d bytes", limit)
	}
	before := collections()
	for end := time.Now().Add(10 * time.Second); collections() == before; {
		if time.Now().After(end) {
			t.Fatal("nothing was collected in 10 seconds")
		}
		keep = make([]byte, 1<<20)
	}
}

var keep []byte
