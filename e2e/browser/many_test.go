package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTwentyConsolesNeedLittleMemory holds twenty streams of events open and loads the page and its
// views over and over. bench/sidecar has the figures; here only many times the goal fails.
func TestTwentyConsolesNeedLittleMemory(t *testing.T) {
	const (
		consoles = 20
		looks    = 8   // at the pod, that each console must have been told
		goal     = 64  // MiB
		bound    = 256 // MiB
	)
	p := startPod(t)
	p.ask(t, "agent", "What is the KV pool?")
	cookie := p.enter(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var told [consoles]atomic.Int32
	var wg sync.WaitGroup
	fail := make(chan error, 2*consoles)
	for i := range consoles {
		wg.Go(func() {
			if err := p.follow(ctx, cookie, &told[i]); err != nil && ctx.Err() == nil {
				fail <- err
			}
		})
		wg.Go(func() {
			for told[i].Load() < looks && ctx.Err() == nil {
				for _, path := range []string{"/", "/console/api/agents", "/console/api/limits", "/console/api/alerts", "/console/api/logs", "/console/api/requests", "/console/api/drift", "/licenses"} {
					if err := p.load(ctx, cookie, path); err != nil && ctx.Err() == nil {
						fail <- err
						return
					}
				}
			}
		})
	}
	all := func() bool {
		for i := range told {
			if told[i].Load() < looks {
				return false
			}
		}
		return true
	}
	for !all() {
		select {
		case err := <-fail:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal("the consoles were not told in time")
		case <-time.After(50 * time.Millisecond):
		}
	}
	peak, own := memory(t, p.child(t, "sidecar"), "VmHWM"), memory(t, p.child(t, "sidecar"), "RssAnon")
	cancel()
	wg.Wait()
	t.Logf("the sidecar's peak is %.1f MiB with %d consoles, %.1f MiB of it of its own at the end; the goal is %d", peak, consoles, own, goal)
	if peak > bound {
		t.Errorf("%.1f MiB with %d consoles; the goal is %d", peak, consoles, goal)
	}
}

// enter opens a session with the admin key.
func (p *pod) enter(t *testing.T) *http.Cookie {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.screen+"/console/api/login", strings.NewReader(`{"key":"`+adminKey+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", p.screen)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) == 0 {
		t.Fatalf("the door answered %d", resp.StatusCode)
	}
	return resp.Cookies()[0]
}

func (p *pod) get(ctx context.Context, cookie *http.Cookie, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.screen+path, nil)
	if err != nil {
		return nil, err
	}
	req.AddCookie(cookie)
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: status %d", path, resp.StatusCode)
	}
	return resp, err
}

func (p *pod) load(ctx context.Context, cookie *http.Cookie, path string) error {
	resp, err := p.get(ctx, cookie, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// follow counts the looks of one stream of events.
func (p *pod) follow(ctx context.Context, cookie *http.Cookie, told *atomic.Int32) error {
	resp, err := p.get(ctx, cookie, "/console/api/events")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "event: look\n" {
			told.Add(1)
		}
	}
}

// memory reads a line such as VmHWM of a process, in MiB.
func memory(t *testing.T, pid int, what string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatalf("process %d has no %s", pid, what)
	return 0
}
