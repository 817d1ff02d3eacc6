package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// scrapes is what a scrape of proxy and engine takes.
type scrapes struct {
	Bytes  int     `json:"bytes"`
	Idle   latency `json:"idle"`
	Loaded latency `json:"loaded"` // while the engine computes answers on all cores
	// What the request path does with scrapes flat out beside it, and without.
	Requests latency `json:"models_without_scrapes"`
	Beside   latency `json:"models_beside_scrapes"`
}

// latency is in milliseconds.
type latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func latencyOf(ms []float64) latency {
	return latency{P50: measure.Percentile(ms, 50), P99: measure.Percentile(ms, 99)}
}

func measureScrape(p plan) (*scrapes, error) {
	pod, url, engine, err := startPod(p)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = pod.Process.Signal(syscall.SIGTERM)
		_ = pod.Wait()
		_ = os.RemoveAll(engine.dir)
	}()
	s := &scrapes{}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	series := func(path string, n int) latency {
		var ms []float64
		for range n {
			began := time.Now()
			size, failed := fetch(client, url+path)
			if failed != nil {
				err = failed
				return latency{}
			}
			ms = append(ms, float64(time.Since(began).Microseconds())/1e3)
			if path == "/metrics" {
				s.Bytes = size
			}
		}
		return latencyOf(ms)
	}
	series("/metrics", 50) // warm
	s.Idle = series("/metrics", 500)
	s.Requests = series("/v1/models", 2000)
	stop := flatOut(1, func() { _, _ = fetch(client, url+"/metrics") })
	s.Beside = series("/v1/models", 2000)
	stop()
	stop = flatOut(atOnce, func() { _, _ = engine.answer() })
	s.Loaded = series("/metrics", 200)
	stop()
	return s, err
}

// flatOut does something over and over beside what is measured.
func flatOut(loops int, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range loops {
		all.Go(func() {
			for ctx.Err() == nil {
				do()
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

func fetch(client *http.Client, url string) (int, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return len(b), err
}

// startPod starts a whole pod. The engine is reached past the proxy, to be kept busy.
func startPod(p plan) (cmd *exec.Cmd, url string, engine *lone, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, "", nil, err
	}
	ports := make([]string, 2)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", nil, err
		}
		ports[i] = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		ln.Close()
	}
	url = "http://127.0.0.1:" + ports[0]
	cmd = exec.Command(p.binary, "serve", "--data-dir", dir, "--model", p.model, "--kv-memory", "256MiB", "--port", ports[0],
		"--sidecar-listen", "127.0.0.1:"+ports[1], "--drain-delay", "0s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, "", nil, err
	}
	engine = &lone{dir: dir, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: atOnce,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "run", "engine.sock"))
		},
	}}}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = fetch(http.DefaultClient, url+"/health/ready"); err == nil {
			return cmd, url, engine, nil
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return nil, "", nil, fmt.Errorf("the pod does not come up: %w", err)
		}
	}
}
