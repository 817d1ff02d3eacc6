package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// proxy is what a variant costs.
type proxy struct {
	CPU    measure.Spread `json:"cpu_us"`          // of a request
	Added  measure.Spread `json:"added_us"`        // to that of the silent one, in the same round
	Rounds []float64      `json:"cpu_us_rounds"`   //
	More   []float64      `json:"added_us_rounds"` //
}

// child is a variant's process.
type child struct {
	variant
	cmd     *exec.Cmd
	address string
}

func startChildren(dir, collector string) (all []*child, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for i, v := range variants {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return all, err
		}
		c := &child{variant: v, cmd: exec.Command(self, "-as-proxy", v.name, "-dir", own)}
		c.cmd.Env = append(os.Environ(), v.environ(collector)...)
		c.cmd.Stderr = os.Stderr
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		if err := c.cmd.Start(); err != nil {
			return all, err
		}
		all = append(all, c)
		for end := time.Now().Add(20 * time.Second); c.address == ""; time.Sleep(10 * time.Millisecond) {
			b, _ := os.ReadFile(filepath.Join(own, "address"))
			c.address = string(b)
			if time.Now().After(end) {
				return all, fmt.Errorf("the proxy %q does not come up", v.name)
			}
		}
		if err := c.load(1, 200); err != nil { // it is warm then, and sees the engine
			return all, err
		}
	}
	return all, nil
}

func measureProxy(p plan) (map[string]proxy, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	stopEngine, err := standForEngine(filepath.Join(dir, "engine.sock"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = stopEngine() }()
	collector, stopCollector, err := standForCollector()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stopCollector() }()
	children, err := startChildren(dir, collector)
	defer func() {
		for _, c := range children {
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			_ = c.cmd.Wait()
		}
	}()
	if err != nil {
		return nil, err
	}
	return byTurns(p, children)
}

// byTurns measures all variants in each round, in another order each time.
func byTurns(p plan, children []*child) (map[string]proxy, error) {
	cpu, more := map[string][]float64{}, map[string][]float64{}
	for round := range p.rounds {
		spent := map[string]float64{}
		for i := range children {
			c := children[(round+i)%len(children)]
			us, err := c.cost(p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			spent[c.name] = us
		}
		for name, us := range spent {
			cpu[name] = append(cpu[name], measure.Round(us))
			more[name] = append(more[name], measure.Round(us-spent[off]))
		}
	}
	all := map[string]proxy{}
	for name := range cpu {
		all[name] = proxy{CPU: measure.SpreadOf(cpu[name]), Added: measure.SpreadOf(more[name]), Rounds: cpu[name], More: more[name]}
	}
	return all, nil
}

// cost is the processor time of a request, in microseconds: spans that are still to be
// sent are waited for, since sending them costs, too.
func (c *child) cost(p plan) (float64, error) {
	before, err := processorTime(c.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := c.load(p.connections, p.requests); err != nil {
		return 0, err
	}
	if c.sampled >= 0 {
		time.Sleep(150 * time.Millisecond) // OTEL_BSP_SCHEDULE_DELAY is 100 ms
	}
	after, err := processorTime(c.cmd.Process.Pid)
	return float64((after - before).Nanoseconds()) / 1e3 / float64(p.requests), err
}

const question = `{"model":"bench","messages":[{"role":"user","content":"Name the capital of Italy, and say in a sentence what it is known for."}],"max_tokens":16}`

// load sends so many requests over so many connections, each as soon as the one before
// is answered.
func (c *child) load(connections, requests int) error {
	text := "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + benchKey +
		"\r\nContent-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(question)) + "\r\n\r\n" + question
	var left atomic.Int64
	left.Store(int64(requests))
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { errs[i] = ask(c.address, text, &left) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func ask(address, text string, left *atomic.Int64) error {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	for left.Add(-1) >= 0 {
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Rome") {
			return fmt.Errorf("the proxy answered %s: %.200s", resp.Status, body)
		}
	}
	return nil
}
