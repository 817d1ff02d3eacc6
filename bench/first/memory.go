package main

import (
	"fmt"

	"github.com/semantic-pod/semantic/bench/measure"
)

// memory is what one process takes.
type memory struct {
	Process string         `json:"process"`
	Idle    measure.Memory `json:"idle"`
	Loaded  measure.Memory `json:"after_load"`
}

var processNames = []string{"proxy", "engine", "sidecar", "serve"}

// memory reads each process's from the kernel.
func (q *pod) memory() (map[string]measure.Memory, error) {
	pids, err := q.processes()
	if err != nil {
		return nil, err
	}
	all := map[string]measure.Memory{}
	for _, name := range processNames {
		if all[name], err = measure.MemoryOf(pids[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

func sideBySide(idle, loaded map[string]measure.Memory) []memory {
	var all []memory
	for _, name := range processNames {
		all = append(all, memory{name, idle[name], loaded[name]})
	}
	return all
}
