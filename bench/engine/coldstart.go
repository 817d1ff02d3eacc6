package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// coldStart is the time in milliseconds from starting the binary to a pod that is ready. The
// model's file is in the page cache.
type coldStart struct {
	Median float64   `json:"median_ms"`
	Runs   []float64 `json:"runs_ms"`
}

func measureColdStart(p plan) (*coldStart, error) {
	c := &coldStart{}
	for range p.starts + 1 {
		ms, err := startOnce(p.binary)
		if err != nil {
			return nil, err
		}
		c.Runs = append(c.Runs, round1(ms))
	}
	c.Runs = c.Runs[1:] // the first filled the page cache
	c.Median = median(c.Runs)
	return c, nil
}

func startOnce(binary string) (float64, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ports, err := measure.FreePorts(2)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pod := exec.CommandContext(ctx, binary, "serve", "--port", strconv.Itoa(ports[0]), "--data-dir", dir, "--sidecar-listen", "127.0.0.1:"+strconv.Itoa(ports[1]), "--drain-delay", "0s")
	pod.Stderr = nil
	began := time.Now()
	if err := pod.Start(); err != nil {
		return 0, err
	}
	took, err := untilReady(ctx, fmt.Sprintf("http://127.0.0.1:%d/health/ready", ports[0]), began)
	_ = pod.Process.Signal(syscall.SIGTERM)
	_ = pod.Wait()
	return took, err
}

func untilReady(ctx context.Context, url string, began time.Time) (float64, error) {
	for ctx.Err() == nil {
		if r, err := http.Get(url); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return float64(time.Since(began).Microseconds()) / 1000, nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, fmt.Errorf("the pod was not ready within a minute")
}
