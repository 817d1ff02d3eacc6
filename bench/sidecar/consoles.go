package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// consoles is what pages that are open cost: the sidecar's memory, and what a client sees of it.
type consoles struct {
	Machine        measure.Machine `json:"machine"`
	Open           int             `json:"consoles"`
	Seconds        float64         `json:"seconds_of_page_loads"`
	Looks          int64           `json:"events_received"`
	Loads          int64           `json:"answers_to_page_loads"`
	PeakRSSMiB     float64         `json:"peak_rss_mib"`
	OwnMiB         float64         `json:"rss_mib_of_its_own"`
	GoalMiB        float64         `json:"goal_rss_mib"`
	SidecarPercent float64         `json:"sidecar_cpu_percent_of_a_core_with"`

	Requests    string         `json:"requests"`
	Rounds      int            `json:"rounds_of_each"`
	P99Without  measure.Spread `json:"p99_ms_without"`
	P99With     measure.Spread `json:"p99_ms_with"`
	CPUWithout  measure.Spread `json:"proxy_and_engine_cpu_us_a_request_without"`
	CPUWith     measure.Spread `json:"proxy_and_engine_cpu_us_a_request_with"`
	WithoutRuns []float64      `json:"p99_ms_without_runs"`
	WithRuns    []float64      `json:"p99_ms_with_runs"`
	CPURuns     [2][]float64   `json:"cpu_us_a_request_runs_without_and_with"`
	Errors      int            `json:"request_errors"`
}

const (
	openConsoles = 20
	benchAdmin   = "the-admin-key-of-the-bench-0123456789"
)

// views are what a page asks for when it is loaded and its views are looked at.
var views = []string{"/", "/console/api/agents", "/console/api/limits", "/console/api/alerts", "/console/api/logs", "/console/api/requests", "/console/api/drift", "/licenses"}

func measureConsoles(p plan) (r consoles, err error) {
	r = consoles{Open: openConsoles, Seconds: p.idle.Seconds(), GoalMiB: 64, Rounds: p.rounds,
		Requests: fmt.Sprintf("GET /v1/models through proxy and engine, %d a second", requestsPerSecond)}
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
	if err := os.Setenv("SEMANTIC_ADMIN_KEY", benchAdmin); err != nil {
		return r, err
	}
	url, screen := "http://127.0.0.1:"+strconv.Itoa(ports[0]), "http://127.0.0.1:"+strconv.Itoa(ports[1])
	pod, err := begin(p.binary, "serve", "--data-dir", dir, "--model", p.model, "--port", strconv.Itoa(ports[0]), "--sidecar-listen", strings.TrimPrefix(screen, "http://"), "--drain-delay", "0s")
	if err != nil {
		return r, err
	}
	if err := awaitReady(pod, url); err != nil {
		return r, err
	}
	if err := r.paths(p, pod, url, screen); err != nil {
		return r, err
	}
	if err := r.memory(p, pod, screen); err != nil {
		return r, err
	}
	return r, pod.end()
}

// paths measures by turns without and with consoles.
func (r *consoles) paths(p plan, pod *process, url, screen string) error {
	if _, _, err := load(url, 2*time.Second); err != nil { // it is warm
		return err
	}
	var used float64
	for n := range 2 * p.rounds {
		with := n%2 == 1
		end := func() error { return nil }
		if with {
			var err error
			if end, err = openPages(screen, false, new(atomic.Int64), new(atomic.Int64)); err != nil {
				return err
			}
		}
		before, err := cpuOfAll(pod, "proxy", "engine")
		if err != nil {
			return err
		}
		side, err := cpuOfAll(pod, "sidecar")
		if err != nil {
			return err
		}
		p99, failed, err := load(url, p.round)
		if err != nil {
			return err
		}
		after, err := cpuOfAll(pod, "proxy", "engine")
		if err != nil {
			return err
		}
		sideAfter, err := cpuOfAll(pod, "sidecar")
		if err != nil {
			return err
		}
		if err := end(); err != nil {
			return err
		}
		each := measure.Round(float64((after - before).Microseconds()) / (requestsPerSecond * p.round.Seconds()))
		r.Errors += failed
		if with {
			r.WithRuns, r.CPURuns[1] = append(r.WithRuns, p99), append(r.CPURuns[1], each)
			used += percent(sideAfter-side, p.round)
		} else {
			r.WithoutRuns, r.CPURuns[0] = append(r.WithoutRuns, p99), append(r.CPURuns[0], each)
		}
	}
	r.SidecarPercent = measure.Round(used / float64(p.rounds))
	r.P99Without, r.P99With = measure.SpreadOf(r.WithoutRuns), measure.SpreadOf(r.WithRuns)
	r.CPUWithout, r.CPUWith = measure.SpreadOf(r.CPURuns[0]), measure.SpreadOf(r.CPURuns[1])
	return nil
}

// memory has the consoles look at every view for a time.
func (r *consoles) memory(p plan, pod *process, screen string) error {
	var looks, loads atomic.Int64
	end, err := openPages(screen, true, &looks, &loads)
	if err != nil {
		return err
	}
	time.Sleep(p.idle)
	sidecar, err := childNamed(pod.cmd.Process.Pid, "sidecar")
	if err != nil {
		return err
	}
	if r.PeakRSSMiB, err = memory(sidecar, "VmHWM"); err != nil {
		return err
	}
	if r.OwnMiB, err = memory(sidecar, "RssAnon"); err != nil {
		return err
	}
	r.PeakRSSMiB, r.OwnMiB = measure.Round(r.PeakRSSMiB), measure.Round(r.OwnMiB)
	r.Looks, r.Loads = looks.Load(), loads.Load()
	return end()
}

func cpuOfAll(pod *process, names ...string) (sum time.Duration, err error) {
	for _, name := range names {
		pid, err := childNamed(pod.cmd.Process.Pid, name)
		if err != nil {
			return 0, err
		}
		c, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += c.archive + c.rest
	}
	return sum, nil
}

// openPages opens the consoles; each follows the events and, when it browses, asks for every view
// once a second.
func openPages(screen string, browse bool, looks, loads *atomic.Int64) (end func() error, err error) {
	cookie, err := enter(screen)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	errs := make(chan error, 2*openConsoles)
	for range openConsoles {
		wg.Go(func() { errs <- follow(ctx, screen, cookie, looks) })
		if !browse {
			continue
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, view := range views {
					resp, err := get(ctx, screen+view, cookie)
					if err != nil {
						errs <- err
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body) // what matters is that it was made
					resp.Body.Close()
					loads.Add(1)
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	return func() error {
		cancel()
		wg.Wait()
		close(errs)
		var all []error
		for err := range errs {
			if !errors.Is(err, context.Canceled) {
				all = append(all, err)
			}
		}
		return errors.Join(all...)
	}, nil
}

func follow(ctx context.Context, screen string, cookie *http.Cookie, looks *atomic.Int64) error {
	resp, err := get(ctx, screen+"/console/api/events", cookie)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "event: look\n" {
			looks.Add(1)
		}
	}
}

func get(ctx context.Context, url string, cookie *http.Cookie) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.AddCookie(cookie)
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return resp, err
}

// enter opens a session with the admin key.
func enter(screen string) (*http.Cookie, error) {
	req, err := http.NewRequest(http.MethodPost, screen+"/console/api/login", strings.NewReader(`{"key":"`+benchAdmin+`"}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Origin", screen)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) == 0 {
		return nil, fmt.Errorf("the console's door answered %d", resp.StatusCode)
	}
	return resp.Cookies()[0], nil
}
