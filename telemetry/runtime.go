package telemetry

import (
	"fmt"
	"runtime"
	"runtime/metrics"
)

// runtimeSeries are the Go runtime's own figures and the names under which
// Prometheus's Go client is known to expose them, so that dashboards work.
var runtimeSeries = []struct {
	name, help string
	kind       kind
	sources    []string // summed
}{
	{"go_goroutines", "Goroutines that exist.", gaugeKind, []string{"/sched/goroutines:goroutines"}},
	{"go_sched_gomaxprocs_threads", "GOMAXPROCS: threads that run Go code at once.", gaugeKind, []string{"/sched/gomaxprocs:threads"}},
	{"go_gc_cycles_total", "Completed garbage collections.", counterKind, []string{"/gc/cycles/total:gc-cycles"}},
	{"go_gc_cpu_seconds_total", "CPU time spent collecting garbage, in seconds, as the runtime estimates it.", counterKind, []string{"/cpu/classes/gc/total:cpu-seconds"}},
	{"go_memstats_alloc_bytes_total", "Bytes ever allocated on the heap.", counterKind, []string{"/gc/heap/allocs:bytes"}},
	{"go_memstats_mallocs_total", "Objects ever allocated on the heap.", counterKind, []string{"/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"}},
	{"go_memstats_alloc_bytes", "Bytes of heap objects in use or not yet swept.", gaugeKind, []string{"/memory/classes/heap/objects:bytes"}},
	{"go_memstats_heap_objects", "Heap objects in use or not yet swept.", gaugeKind, []string{"/gc/heap/objects:objects"}},
	{"go_memstats_heap_inuse_bytes", "Bytes of heap spans in use.", gaugeKind, []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"}},
	{"go_memstats_heap_idle_bytes", "Bytes of heap spans that are free or given back.", gaugeKind, []string{"/memory/classes/heap/free:bytes", "/memory/classes/heap/released:bytes"}},
	{"go_memstats_heap_released_bytes", "Bytes of heap given back to the system.", gaugeKind, []string{"/memory/classes/heap/released:bytes"}},
	{"go_memstats_stack_inuse_bytes", "Bytes of goroutine stacks.", gaugeKind, []string{"/memory/classes/heap/stacks:bytes"}},
	{"go_memstats_sys_bytes", "Bytes of memory that the runtime took from the system.", gaugeKind, []string{"/memory/classes/total:bytes"}},
	{"go_memstats_next_gc_bytes", "Heap size at which the next garbage collection ends.", gaugeKind, []string{"/gc/heap/goal:bytes"}},
	{"go_gc_gomemlimit_bytes", "GOMEMLIMIT: the runtime's soft limit of memory.", gaugeKind, []string{"/gc/gomemlimit:bytes"}},
	{"go_sync_mutex_wait_seconds_total", "Time that goroutines waited for mutexes, in seconds.", counterKind, []string{"/sync/mutex/wait/total:seconds"}},
}

// declareRuntime adds the Go runtime's series. They come from runtime/metrics,
// which does not stop the world.
func (m *Metrics) declareRuntime() {
	labels := fmt.Sprintf(`process="%s"`, m.process)
	for _, s := range runtimeSeries {
		read := func() float64 { return readRuntime(s.sources) }
		if s.kind == counterKind {
			m.CounterFunc(s.name, labels, s.help, read)
		} else {
			m.GaugeFunc(s.name, labels, s.help, read)
		}
	}
	m.Gauge("go_info", fmt.Sprintf(`process="%s",version="%s"`, m.process, runtime.Version()), "Always 1; the label says which Go built this process.").Set(1)
}

// HeapBytes returns the bytes of heap objects in use or not yet swept.
func HeapBytes() float64 { return readRuntime([]string{"/memory/classes/heap/objects:bytes"}) }

func readRuntime(sources []string) float64 {
	sum := 0.0
	samples := make([]metrics.Sample, len(sources))
	for i, name := range sources {
		samples[i].Name = name
	}
	metrics.Read(samples)
	for _, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			sum += float64(s.Value.Uint64())
		case metrics.KindFloat64:
			sum += s.Value.Float64()
		}
	}
	return sum
}
