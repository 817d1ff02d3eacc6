package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
	"github.com/semantic-pod/semantic/telemetry"
)

// engineCost is what telling costs the engine.
type engineCost struct {
	Off            measure.Spread `json:"tokens_per_second_off"` // no log lines, no spans
	On             measure.Spread `json:"tokens_per_second_on"`  // a line a request, each request traced
	LessPercent    measure.Spread `json:"fewer_percent"`         // in the same round
	Rounds         []float64      `json:"fewer_percent_rounds"`
	UpdatesNS      float64        `json:"metric_updates_ns"` // of a token: what cannot be turned off
	UpdatesPercent float64        `json:"metric_updates_percent"`
}

// atOnce is how many answers the engine computes together.
const (
	atOnce       = 8
	answerTokens = 64
)

// lone is an engine without a proxy.
type lone struct {
	cmd    *exec.Cmd
	dir    string
	client *http.Client
}

func startEngine(p plan, env []string, args ...string) (*lone, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	e := &lone{dir: dir, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: atOnce,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "run", "engine.sock"))
		},
	}}}
	e.cmd = exec.Command(p.binary, append([]string{"engine", "--data-dir", dir, "--model", p.model, "--kv-memory", "256MiB"}, args...)...)
	e.cmd.Env = append(os.Environ(), env...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = e.answer(); err == nil {
			return e, nil
		}
		if time.Now().After(end) {
			e.stop()
			return nil, fmt.Errorf("the engine does not come up: %w", err)
		}
	}
}

func (e *lone) stop() {
	e.client.CloseIdleConnections()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	_ = e.cmd.Wait()
	_ = os.RemoveAll(e.dir)
}

// answer has one computed, and returns its tokens.
func (e *lone) answer() (int, error) {
	body := fmt.Sprintf(`{"model":"default","prompt":"1, 2, 3, 4, 5, 6,","max_tokens":%d,"temperature":0}`, answerTokens)
	r, err := http.NewRequest(http.MethodPost, "http://engine/v1/completions", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	resp, err := e.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var got struct {
		Usage struct {
			Completion int `json:"completion_tokens"`
		}
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err == nil && got.Usage.Completion == 0 {
		err = fmt.Errorf("the engine answered %s: %.200s", resp.Status, text)
	}
	return got.Usage.Completion, err
}

// speed is the tokens a second of atOnce clients with so many answers each.
func (e *lone) speed(answers int) (float64, error) {
	var all sync.WaitGroup
	tokens, errs := make([]int, atOnce), make([]error, atOnce)
	began := time.Now()
	for i := range atOnce {
		all.Go(func() {
			for range answers {
				n, err := e.answer()
				if err != nil {
					errs[i] = err
					return
				}
				tokens[i] += n
			}
		})
	}
	all.Wait()
	sum := 0
	for i := range atOnce {
		if errs[i] != nil {
			return 0, errs[i]
		}
		sum += tokens[i]
	}
	return float64(sum) / time.Since(began).Seconds(), nil
}

func measureEngine(p plan) (*engineCost, error) {
	collector, stopCollector, err := standForCollector()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stopCollector() }()
	all := variants[len(variants)-1]
	on, err := startEngine(p, all.environ(collector), "--log-level", "info")
	if err != nil {
		return nil, err
	}
	defer on.stop()
	silent, err := startEngine(p, nil, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	defer silent.stop()
	speeds := map[*lone][]float64{}
	var less []float64
	for round := range p.engineRounds {
		pair := []*lone{silent, on}
		if round%2 == 1 {
			pair = []*lone{on, silent}
		}
		for _, e := range pair {
			v, err := e.speed(1)
			if err != nil {
				return nil, err
			}
			speeds[e] = append(speeds[e], v)
		}
		less = append(less, measure.Round(100*(1-speeds[on][round]/speeds[silent][round])))
	}
	c := &engineCost{Off: measure.SpreadOf(speeds[silent]), On: measure.SpreadOf(speeds[on]), LessPercent: measure.SpreadOf(less), Rounds: less}
	c.UpdatesNS = measure.Round(updatesOfAToken())
	c.UpdatesPercent = measure.Round(c.UpdatesNS / 1e9 * c.On.Median * 100)
	return c, nil
}

// updatesOfAToken is the time, in nanoseconds, of what the engine counts for each
// token: two histograms, two counters and the rate; and for the step another two
// histograms, as if it made one token alone.
func updatesOfAToken() float64 {
	m := telemetry.NewMetrics("bench")
	bounds := []float64{.0001, .00025, .0005, .001, .0025, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .2, .3, .5, 1, 2.5}
	var h [4]*telemetry.Histogram
	for i := range h {
		h[i] = m.Histogram(fmt.Sprintf("semantic_bench_%d_seconds", i), "", "Of the benchmark.", bounds)
	}
	a, b := m.Counter("semantic_bench_a_total", "", "Of the benchmark."), m.Counter("semantic_bench_b_total", "", "Of the benchmark.")
	var rate telemetry.Rate
	const n = 1_000_000
	began := time.Now()
	for range n {
		for i := range h {
			h[i].Update(.0068)
		}
		a.Inc()
		b.Inc()
		rate.Add(time.Now(), 1)
	}
	return float64(time.Since(began).Nanoseconds()) / n
}
