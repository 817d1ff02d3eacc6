package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// pod is one `semantic serve` on free ports, with folders of its own.
type pod struct {
	*measure.Process
	url    string
	proxy  *http.Client // over TCP
	engine *http.Client // over the engine's socket
}

// startPod returns when /health/ready is 200.
func startPod(p plan) (*pod, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	ports, err := measure.FreePorts(2)
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	q := &pod{url: "http://" + address}
	q.proxy = keepAlive(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) })
	q.engine = keepAlive(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "run", "engine.sock"))
	})
	q.Process, err = measure.Start(dir, "", time.Millisecond, q.ready, p.binary, "serve", "--data-dir", dir, "--model", p.model,
		"--port", strconv.Itoa(ports[0]), "--sidecar-listen", "127.0.0.1:"+strconv.Itoa(ports[1]), "--drain-delay", "0s")
	return q, err
}

func (q *pod) ready() bool {
	resp, err := q.proxy.Get(q.url + "/health/ready")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// stop ends the pod with SIGTERM.
func (q *pod) stop() error {
	q.proxy.CloseIdleConnections()
	q.engine.CloseIdleConnections()
	return q.Stop()
}

// processes are the pids of the pod, by name.
func (q *pod) processes() (map[string]int, error) {
	f, err := os.Open(filepath.Join(q.Dir, "logs", "serve.log"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pids := map[string]int{"serve": q.Cmd.Process.Pid}
	for scan := bufio.NewScanner(f); scan.Scan(); {
		var line struct {
			Msg, Child string
			PID        int
		}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			return nil, err
		}
		if line.Msg == "child started" {
			pids[line.Child] = line.PID
		}
	}
	if len(pids) != 4 {
		return nil, fmt.Errorf("serve.log tells of %v", pids)
	}
	return pids, nil
}

// keepAlive is a client that asks over one kept connection at a time, so that
// connecting is no part of what is measured.
func keepAlive(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConnsPerHost: 64, DisableCompression: true,
	}}
}

// ask sends a request and reads its answer whole.
func ask(c *http.Client, method, url, body string) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s %s", url, resp.Status, text)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
