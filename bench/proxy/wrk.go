package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed wrk.lua
var wrkScript string

// wrk is a load that asks again as soon as it is answered, on each connection.
type wrk struct {
	url, key, body string // without a body it is a GET
	connections    int
	duration       time.Duration
}

// wrkResult is what wrk.lua prints. Times are in microseconds.
type wrkResult struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	Failed   int     `json:"failed"` // socket errors, timeouts, statuses above 399
	P50      float64 `json:"p50"`
	P95      float64 `json:"p95"`
	P99      float64 `json:"p99"`
}

func (w wrk) run(dir string) (wrkResult, error) {
	var r wrkResult
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return r, err
	}
	cmd := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(w.connections), "--timeout", "60s", "-d", fmt.Sprintf("%ds", int(w.duration.Seconds())),
		"-s", script, w.url, "--", w.key, w.body)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("wrk (of the Debian package wrk): %w\n%s", err, out)
	}
	_, line, ok := strings.Cut(string(out), "result ")
	if !ok {
		return r, fmt.Errorf("wrk printed no result:\n%s", out)
	}
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&r); err != nil {
		return r, fmt.Errorf("wrk's result: %w\n%s", err, out)
	}
	if r.Requests == 0 || r.Failed > 0 {
		return r, fmt.Errorf("wrk on %s: %d requests, %d failed:\n%s", w.url, r.Requests, r.Failed, out)
	}
	return r, nil
}
