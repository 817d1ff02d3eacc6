package proxy

import (
	"os"
	"runtime"
	"runtime/debug"
)

// coresPerThread is how many cores there are for each thread of the proxy. One
// thread forwards tens of thousands of requests a second, and with fewer of them a
// request costs less: nobody is woken on another core to look for work.
const coresPerThread = 4

// garbagePercent is how much garbage may come to what is in use before it is
// collected. A request leaves none, so that this costs little, and with thousands of
// streams the memory is what they use.
const garbagePercent = 40

// Tune fits the runtime of this process to what a proxy does. GOMAXPROCS and GOGC
// in the environment go before it.
func (c *Config) Tune() {
	switch {
	case c.Threads > 0:
		runtime.GOMAXPROCS(c.Threads)
	case os.Getenv("GOMAXPROCS") == "":
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/coresPerThread))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
