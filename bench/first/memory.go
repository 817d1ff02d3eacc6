package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/semantic-pod/semantic/bench/measure"
)

// memory is what one process takes. PSS shares out the pages that several
// processes have in common, such as the binary's.
type memory struct {
	Process string `json:"process"`
	Idle    pages  `json:"idle"`
	Loaded  pages  `json:"after_load"`
}

// pages are in MiB. Anonymous is what is neither the model's file nor the binary.
type pages struct {
	PSS       float64 `json:"pss_mib"`
	RSS       float64 `json:"rss_mib"`
	Anonymous float64 `json:"anonymous_mib"`
}

var processNames = []string{"proxy", "engine", "sidecar", "serve"}

// memory reads each process's from the kernel.
func (q *pod) memory() (map[string]pages, error) {
	pids, err := q.processes()
	if err != nil {
		return nil, err
	}
	all := map[string]pages{}
	for _, name := range processNames {
		if all[name], err = readPages(pids[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

func readPages(pid int) (p pages, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return p, err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		words := strings.Fields(scan.Text())
		to := map[string]*float64{"Pss:": &p.PSS, "Rss:": &p.RSS, "Anonymous:": &p.Anonymous}[words[0]]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return p, err
		}
		*to = measure.Round(kib / 1024)
	}
	return p, scan.Err()
}

func sideBySide(idle, loaded map[string]pages) []memory {
	var all []memory
	for _, name := range processNames {
		all = append(all, memory{name, idle[name], loaded[name]})
	}
	return all
}
