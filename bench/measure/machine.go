// Package measure is what the benchmarks share: the machine that they ran on, and how
// samples lie.
package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says where and when the figures were measured, and of what.
type Machine struct {
	CPU         string  `json:"cpu"`
	Cores       int     `json:"cores"`
	MemoryGiB   float64 `json:"memory_gib"`
	Kernel      string  `json:"kernel"`
	Go          string  `json:"go"`
	Date        string  `json:"date"`
	LoadAverage string  `json:"load_average_before"` // what else the machine was doing
	Nice        int     `json:"nice"`                // below 0: it went before that
	Version     string  `json:"version"`
	Commit      string  `json:"commit"`
}

func ThisMachine(binary string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Format(time.DateOnly), CPU: cpuName()}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, fmt.Errorf("kernel: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, fmt.Errorf("memory: %w", err)
	}
	m.MemoryGiB = Round(float64(info.Totalram) * float64(info.Unit) / (1 << 30))
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return m, fmt.Errorf("nice: %w", err)
	}
	m.Nice = 20 - priority // as the kernel gives it
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.LoadAverage = strings.Join(strings.Fields(string(average))[:3], " ")
	m.Version, m.Commit, err = buildOf(binary)
	return m, err
}

func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	name, details := "unknown", map[string]string{}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); ok && details[key] == "" {
			details[key] = strings.TrimSpace(value)
		}
	}
	if details["model name"] != "" {
		name = details["model name"]
	}
	if details["cpu family"] != "" {
		name += fmt.Sprintf(" (family %s, model %s)", details["cpu family"], details["model"])
	}
	return name
}

// buildOf asks the binary what it is: "semantic 0.1.0, commit abc, go1.26".
func buildOf(binary string) (version, commit string, err error) {
	out, err := exec.Command(binary, "version").Output()
	if err != nil {
		return "", "", fmt.Errorf("%s version: %w", binary, err)
	}
	words := strings.Split(strings.TrimSpace(string(out)), ", ")
	if len(words) < 2 {
		return "", "", fmt.Errorf("%s version says %s", binary, json.RawMessage(out))
	}
	version, commit = strings.TrimPrefix(words[0], "semantic "), strings.TrimPrefix(words[1], "commit ")
	if commit == "unknown" { // built with -buildvcs=false: the tree that we run in has to tell
		if head, err := exec.Command("git", "rev-parse", "HEAD").Output(); err == nil {
			commit = strings.TrimSpace(string(head))
		}
	}
	return version, commit, nil
}
