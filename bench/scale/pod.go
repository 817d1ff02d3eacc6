package main

import (
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = time.Minute // for a start

// pod is one real `semantic serve` with a share of a core.
type pod struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	left   chan error
	dir    string
	group  string
	url    string
	client *http.Client
}

// startPods starts so many at once, and returns when all are ready.
func startPods(p plan, n int) ([]*pod, error) {
	pods, errs := make([]*pod, n), make(chan error, n)
	for i := range pods {
		go func() {
			var err error
			pods[i], err = startPod(p, i)
			errs <- err
		}()
	}
	var all error
	for range pods {
		all = errors.Join(all, <-errs)
	}
	if all != nil {
		killPods(pods)
		return nil, all
	}
	return pods, nil
}

func startPod(p plan, n int) (*pod, error) {
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		return nil, err
	}
	group := ""
	if p.cgroup != "" {
		if group, err = newGroup(p.cgroup, fmt.Sprintf("scale-%d-%d", os.Getpid(), p.first+n), p.share); err != nil {
			return nil, err
		}
	}
	port, sidecar, err := twoPorts()
	if err != nil {
		return nil, err
	}
	q := &pod{dir: dir, group: group, url: "http://127.0.0.1:" + strconv.Itoa(port), left: make(chan error, 1)}
	q.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	q.cmd = exec.Command("/bin/sh", "-c", `if [ "$0" ]; then echo $$ > "$0/cgroup.procs" || exit; fi; exec "$@"`, group,
		p.binary, "serve", "--data-dir", dir, "--model", p.model, "--port", strconv.Itoa(port),
		"--sidecar-listen", "127.0.0.1:"+strconv.Itoa(sidecar), "--threads", "1", "--context", "1024",
		"--step-tokens", strconv.Itoa(p.shape.StepTokens), "--max-batch", strconv.Itoa(p.shape.MaxBatch),
		"--kv-memory", strconv.Itoa(p.shape.Blocks*p.blockBytes))
	q.cmd.Stderr = &q.stderr
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := q.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { q.left <- q.cmd.Wait() }()
	if err := q.awaitReady(); err != nil {
		q.kill()
		return nil, fmt.Errorf("%w\n%s", err, q.stderr.String())
	}
	return q, nil
}

func (q *pod) awaitReady() error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, status, err := q.get("/health/ready"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case err := <-q.left:
			q.left <- err
			return fmt.Errorf("the pod ended: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("the pod is not ready")
}

func (q *pod) get(path string) (body []byte, status int, err error) {
	resp, err := q.client.Get(q.url + path)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// metric returns the value of a series without labels.
func (q *pod) metric(name string) (float64, error) {
	text, _, err := q.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the pod has no %s", name)
}

// poolUse is the share of its blocks that requests hold, as its health tells.
func (q *pod) poolUse() (float64, error) {
	var health struct {
		Pool *float64 `json:"pool_utilization"`
	}
	body, _, err := q.get("/health/ready")
	if err == nil {
		err = json.Unmarshal(body, &health)
	}
	if err == nil && health.Pool == nil {
		err = fmt.Errorf("no pool_utilization in %s", body)
	}
	if err != nil {
		return 0, err
	}
	return *health.Pool / 100, nil
}

// kill ends a pod whose memory nobody wants any more, and removes what it left.
func (q *pod) kill() {
	q.client.CloseIdleConnections()
	_ = syscall.Kill(-q.cmd.Process.Pid, syscall.SIGKILL)
	q.left <- <-q.left
	_ = os.RemoveAll(q.dir)
	for range 100 * min(1, len(q.group)) { // its processes need a moment to be gone
		if os.Remove(q.group) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func killPods(pods []*pod) {
	for _, q := range pods {
		if q != nil {
			q.kill()
		}
	}
}

func twoPorts() (int, int, error) {
	var ports [2]int
	for i := range ports {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}
