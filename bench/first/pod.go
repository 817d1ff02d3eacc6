package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = time.Minute
	stopWithin  = time.Minute
)

// pod is one `semantic serve` on free ports, with folders of its own.
type pod struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	left   chan error
	dir    string
	url    string
	took   time.Duration // from its start to ready
	proxy  *http.Client  // over TCP
	engine *http.Client  // over the engine's socket
}

// startPod returns when /health/ready is 200.
func startPod(p plan) (*pod, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	port, sidecar, err := twoPorts()
	if err != nil {
		return nil, err
	}
	q := &pod{dir: dir, url: "http://127.0.0.1:" + strconv.Itoa(port), left: make(chan error, 1)}
	q.proxy = keepAlive(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
	})
	q.engine = keepAlive(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "run", "engine.sock"))
	})
	q.cmd = exec.Command(p.binary, "serve", "--data-dir", dir, "--model", p.model, "--port", strconv.Itoa(port),
		"--sidecar-listen", "127.0.0.1:"+strconv.Itoa(sidecar), "--drain-delay", "0s")
	q.cmd.Stderr = &q.stderr
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	began := time.Now()
	if err := q.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { q.left <- q.cmd.Wait() }()
	if err := q.awaitReady(began); err != nil {
		q.kill()
		return nil, fmt.Errorf("%w\n%s", err, q.stderr.String())
	}
	return q, nil
}

func (q *pod) awaitReady(began time.Time) error {
	for time.Since(began) < readyWithin {
		resp, err := q.proxy.Get(q.url + "/health/ready")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				q.took = time.Since(began)
				return nil
			}
		}
		select {
		case err := <-q.left:
			q.left <- err
			return fmt.Errorf("the pod ended: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
	return errors.New("the pod is not ready")
}

// stop ends the pod with SIGTERM.
func (q *pod) stop() error {
	q.proxy.CloseIdleConnections()
	q.engine.CloseIdleConnections()
	_ = q.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-q.left:
		q.left <- err
		return errors.Join(err, os.RemoveAll(q.dir))
	case <-time.After(stopWithin):
		return errors.New("the pod did not stop")
	}
}

// kill ends what stop has not ended; its children end with it.
func (q *pod) kill() {
	_ = q.cmd.Process.Kill()
	q.left <- <-q.left
	_ = os.RemoveAll(q.dir)
}

// processes are the pids of the pod, by name.
func (q *pod) processes() (map[string]int, error) {
	f, err := os.Open(filepath.Join(q.dir, "logs", "serve.log"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pids := map[string]int{"serve": q.cmd.Process.Pid}
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

func twoPorts() (int, int, error) {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}
