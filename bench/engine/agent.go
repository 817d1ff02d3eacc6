package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// agent is the time to the first token, in milliseconds, of an agent that comes back with 2,000
// tokens and a question of 12.
type agent struct {
	Cold float64 `json:"cold_ms"` // all is computed
	Hot  float64 `json:"hot_ms"`  // keys and values are in memory
	Disk float64 `json:"disk_ms"` // they are on disk
}

// measureAgent runs the engine's own benchmark of it.
func measureAgent() (*agent, error) {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "AgentComesBack", "-benchtime", "7x", "./engine").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	a := &agent{}
	for name, v := range map[string]*float64{"cold-ms": &a.Cold, "hot-ms": &a.Hot, "warm-ms": &a.Disk} {
		fields := strings.Fields(string(out))
		for i, f := range fields {
			if f == name {
				*v, err = strconv.ParseFloat(fields[i-1], 64)
			}
		}
		if *v == 0 || err != nil {
			return nil, fmt.Errorf("the benchmark tells no %s: %s", name, out)
		}
	}
	return a, nil
}
