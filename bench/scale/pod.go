package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// pod is one real `semantic serve` with a share of a core.
type pod struct {
	*measure.Process
	group  string // a folder of control groups; "" for none
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
	ports, err := measure.FreePorts(2)
	if err != nil {
		return nil, err
	}
	q := &pod{group: group, url: "http://127.0.0.1:" + strconv.Itoa(ports[0])}
	q.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	q.Process, err = measure.Start(dir, group, 20*time.Millisecond, q.ready,
		p.binary, "serve", "--data-dir", dir, "--model", p.model, "--port", strconv.Itoa(ports[0]),
		"--sidecar-listen", "127.0.0.1:"+strconv.Itoa(ports[1]), "--threads", "1", "--context", "1024",
		"--step-tokens", strconv.Itoa(p.shape.StepTokens), "--max-batch", strconv.Itoa(p.shape.MaxBatch),
		"--kv-memory", strconv.Itoa(p.shape.Blocks*p.blockBytes))
	if err != nil {
		q.ungroup()
		return nil, err
	}
	return q, nil
}

func (q *pod) ready() bool {
	_, status, err := q.get("/health/ready")
	return err == nil && status == http.StatusOK
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
	q.Kill()
	q.ungroup()
}

// ungroup removes the control group, whose processes need a moment to be gone.
func (q *pod) ungroup() {
	for range 100 * min(1, len(q.group)) {
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
