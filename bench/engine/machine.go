package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says where and when the figures were measured.
type machine struct {
	CPU   string `json:"cpu"`
	Flags string `json:"cpu_flags"` // those that matter here
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	Date  string `json:"date"`
	Load  string `json:"load_average_before"`
	Nice  int    `json:"nice"` // of both; below 0 they went before what else the machine did
	// RealTime says that both ran before all else, by a real-time policy: chrt -f 1.
	RealTime bool   `json:"real_time"`
	Commit   string `json:"commit"`
}

func thisMachine() (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Format(time.DateOnly)}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			m.CPU = strings.TrimSpace(value)
		case "flags":
			for _, f := range strings.Fields(value) {
				have[f] = true
			}
		}
	}
	for _, f := range []string{"avx2", "avx512f", "avx512_vnni", "amx_int8"} {
		if have[f] {
			m.Flags = strings.TrimSpace(m.Flags + " " + f)
		}
	}
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return m, err
	}
	m.Nice = 20 - priority // as the kernel gives it
	policy, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return m, err
	}
	m.RealTime = policy.Policy == unix.SCHED_FIFO || policy.Policy == unix.SCHED_RR
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	m.Commit = strings.TrimSpace(string(commit))
	return m, err
}
