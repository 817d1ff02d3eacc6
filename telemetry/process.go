package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is USER_HZ: the unit of the times in /proc/<pid>/stat. Linux fixes it
// at 100 for every architecture that we build for.
const clockTick = 100

// processStat is what /proc/self/stat tells.
type processStat struct {
	virtualBytes, residentBytes float64
	startTicks                  uint64 // since boot
}

// declareProcess adds the series of the operating system's view of the process,
// under the names that Prometheus's own clients use.
func (m *Metrics) declareProcess() {
	labels := fmt.Sprintf(`process="%s"`, m.process)
	start := startTime()
	m.CounterFunc("process_cpu_seconds_total", labels, "User and system CPU time spent, in seconds.", cpuSeconds)
	m.GaugeFunc("process_resident_memory_bytes", labels, "Resident memory, in bytes.", func() float64 { return readStat().residentBytes })
	m.GaugeFunc("process_virtual_memory_bytes", labels, "Virtual memory, in bytes.", func() float64 { return readStat().virtualBytes })
	m.GaugeFunc("process_open_fds", labels, "Open file descriptors.", openFiles)
	m.GaugeFunc("process_max_fds", labels, "The limit on open file descriptors.", maxFiles)
	m.GaugeFunc("process_start_time_seconds", labels, "When the process started, in seconds since the Unix epoch.", func() float64 { return start })
}

func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func maxFiles() float64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return float64(l.Cur)
}

// openFiles counts the descriptors. Newer kernels tell their number as the size
// of the folder; reading it entry by entry would cost milliseconds with thousands
// of connections.
func openFiles() float64 {
	if info, err := os.Stat("/proc/self/fd"); err == nil && info.Size() > 0 {
		return float64(info.Size())
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return float64(len(names) - 1) // the folder itself was one
}

// readStat parses /proc/self/stat; what cannot be read is 0. The second field is
// the command in parentheses and may hold spaces, so fields are counted after it.
func readStat() processStat {
	var s processStat
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return s
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 22 {
		return s
	}
	s.startTicks, _ = strconv.ParseUint(string(fields[19]), 10, 64)
	s.virtualBytes, _ = strconv.ParseFloat(string(fields[20]), 64)
	pages, _ := strconv.ParseFloat(string(fields[21]), 64)
	s.residentBytes = pages * float64(os.Getpagesize())
	return s
}

// startTime returns when the process started, from the kernel's uptime and the
// clock; if the kernel will not tell, it is now.
func startTime() float64 {
	now := float64(time.Now().UnixNano()) / 1e9
	var t unix.Timespec
	ticks := readStat().startTicks
	if ticks == 0 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return now
	}
	return now - float64(t.Nano())/1e9 + float64(ticks)/clockTick
}
