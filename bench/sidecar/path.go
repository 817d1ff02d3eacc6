package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// path is what a client sees of a pod while its sidecar compresses, and while it rests.
type path struct {
	Machine       measure.Machine `json:"machine"` // on which this part was measured
	Requests      string          `json:"requests"`
	Rounds        int             `json:"rounds_of_each"`
	Resting       measure.Spread  `json:"p99_ms_resting"`
	Compressing   measure.Spread  `json:"p99_ms_compressing"`
	RestingRuns   []float64       `json:"p99_ms_resting_runs"`
	PackingRuns   []float64       `json:"p99_ms_compressing_runs"`
	MovesPercent  float64         `json:"p99_moves_percent"`
	ArchiveCPU    []float64       `json:"archiving_cpu_percent_of_a_core"`
	GoalPercent   float64         `json:"goal_percent"`
	RequestErrors int             `json:"request_errors"`
}

const (
	requestsPerSecond = 400
	clients           = 4
	rotatedBytes      = 256 << 20 // of one file that is given to the sidecar
	filesOfRound      = 16        // more than it can compress in a round
)

func measurePath(p plan) (path, error) {
	r := path{Requests: fmt.Sprintf("GET /v1/models through proxy and engine, %d a second", requestsPerSecond), Rounds: p.rounds, GoalPercent: 5}
	var err error
	if r.Machine, err = measure.ThisMachine(p.binary); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(p.dir, "bench-sidecar-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	ports, err := measure.FreePorts(2)
	if err != nil {
		return r, err
	}
	url := "http://127.0.0.1:" + strconv.Itoa(ports[0])
	pod, err := begin(p.binary, "serve", "--data-dir", dir, "--model", p.model, "--port", strconv.Itoa(ports[0]), "--sidecar-listen", "127.0.0.1:"+strconv.Itoa(ports[1]), "--drain-delay", "0s", "--log-min-free", "0")
	if err != nil {
		return r, err
	}
	if err := awaitReady(pod, url); err != nil {
		return r, err
	}
	source, err := makeSource(dir)
	if err != nil {
		return r, err
	}
	if _, _, err := load(url, 2*time.Second); err != nil { // it is warm
		return r, err
	}
	sidecar, err := childNamed(pod.cmd.Process.Pid, "sidecar")
	if err != nil {
		return r, err
	}
	for n := range 2 * p.rounds {
		packs := n%2 == 1
		if packs {
			if err := giveFiles(dir, source, n); err != nil {
				return r, err
			}
			time.Sleep(1500 * time.Millisecond) // until the sidecar's next look
		}
		before, err := cpuOf(sidecar)
		if err != nil {
			return r, err
		}
		p99, failed, err := load(url, p.round)
		if err != nil {
			return r, err
		}
		after, err := cpuOf(sidecar)
		if err != nil {
			return r, err
		}
		r.RequestErrors += failed
		if !packs {
			r.RestingRuns = append(r.RestingRuns, p99)
			continue
		}
		r.PackingRuns = append(r.PackingRuns, p99)
		r.ArchiveCPU = append(r.ArchiveCPU, percent(after.archive-before.archive, p.round))
		if err := takeFiles(dir); err != nil {
			return r, err
		}
	}
	r.Resting, r.Compressing = measure.SpreadOf(r.RestingRuns), measure.SpreadOf(r.PackingRuns)
	r.MovesPercent = measure.Round(100 * (r.Compressing.Median/r.Resting.Median - 1))
	return r, pod.end()
}

// makeSource writes what a rotated log has.
func makeSource(dir string) (string, error) {
	source := filepath.Join(dir, "source")
	var text strings.Builder
	for n := 0; text.Len() < rotatedBytes; n++ {
		fmt.Fprintf(&text, `{"ts":"2026-01-01T00:00:00.%09dZ","boot":"0123456789abcdef","seq":%d,"level":"info","msg":"request","process":"proxy","request_id":"%016x","status":200,"duration_ms":%d.%d}`+"\n", n%1e9, n+1, n*2654435761, n%977, n%89)
	}
	return source, os.WriteFile(source, []byte(text.String()), 0o600)
}

// giveFiles puts links to the source into the folder: rotated logs that nobody holds.
func giveFiles(dir, source string, round int) error {
	for i := range filesOfRound {
		stamp := time.Date(2026, 1, 1, round, i, 0, 1, time.UTC).Format("20060102T150405.000000000Z")
		if err := os.Link(source, filepath.Join(dir, "logs", "bench.log."+stamp)); err != nil {
			return err
		}
	}
	return nil
}

// takeFiles removes what was not compressed in its round, and waits until the one in
// work is done.
func takeFiles(dir string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, pattern := range []string{"bench.log.*Z", "bench.log.*Z.zst"} {
			list, _ := filepath.Glob(filepath.Join(dir, "logs", pattern))
			for _, f := range list {
				if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
					return err
				}
			}
		}
		if list, _ := filepath.Glob(filepath.Join(dir, "logs", "bench.log.*")); len(list) == 0 {
			return nil
		}
	}
	return fmt.Errorf("a file is in work after a minute")
}

// childNamed finds the pod's process of that command.
func childNamed(parent int, command string) (int, error) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, t := range tasks {
		more, _ := os.ReadFile(t)
		list = append(list, more...)
	}
	for _, word := range strings.Fields(string(list)) {
		pid, _ := strconv.Atoi(word)
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(args), "\x00"+command+"\x00") {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("the pod has no process %s: %w", command, err)
}

// load asks at a steady rate and returns the 99th percentile in milliseconds, counted
// from when a request was due.
func load(url string, d time.Duration) (p99 float64, failed int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all []float64
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			const every = time.Second * clients / requestsPerSecond
			began := time.Now().Add(every * time.Duration(c) / clients)
			for due := began; due.Sub(began) < d; due = due.Add(every) {
				time.Sleep(time.Until(due))
				ok := ask(client, url+"/v1/models")
				took := float64(time.Since(due).Microseconds()) / 1000
				mu.Lock()
				all = append(all, took)
				if !ok {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(all) == 0 || failed == len(all) {
		return 0, failed, fmt.Errorf("no request of %d was answered", len(all))
	}
	return measure.Percentile(all, 99), failed, nil
}

func ask(client *http.Client, url string) bool {
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}
