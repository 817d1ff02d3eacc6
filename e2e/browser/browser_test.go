// Package browser drives the sidecar's console in Debian's chromium against a whole pod. It is a
// module of its own, so that the product's stays small.
package browser

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	patience = 60 * time.Second
	adminKey = "an-admin-key-of-the-test-0123456789"
	canary   = `<img src=x onerror="window.cracked=1"><script>window.cracked=1</script>`
)

// pod is one `semantic serve` with the built-in model.
type pod struct {
	cmd              *exec.Cmd
	dir, url, screen string
	link             string // that it printed
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startPod(t *testing.T) *pod {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "console")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &pod{dir: dir, url: fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), screen: fmt.Sprintf("http://127.0.0.1:%d", freePort(t))}
	p.cmd = exec.Command(filepath.Join(root, "bin", "semantic"), "serve", "--data-dir", dir, "--model", "semantic-builtin",
		"--port", p.url[strings.LastIndex(p.url, ":")+1:], "--sidecar-listen", strings.TrimPrefix(p.screen, "http://"), "--drain-delay", "0s")
	p.cmd.Env = append(os.Environ(), "SEMANTIC_ADMIN_KEY="+adminKey)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v; run: make build", err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if link := regexp.MustCompile(`http://\S+/console/enter\?ticket=\S+`).FindString(scan.Text()); link != "" {
				found <- link
			}
		}
	}()
	select {
	case p.link = <-found:
	case <-time.After(patience):
		t.Fatal("serve printed no link to the console")
	}
	return p
}

// ask chats with the pod, as any client.
func (p *pod) ask(t *testing.T, agent, question string) {
	t.Helper()
	body := fmt.Sprintf(`{"model":"default","temperature":0,"max_tokens":64,"messages":[{"role":"user","content":%q}]}`, question)
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Agent-ID", agent)
	req.Header.Set("User-Agent", canary)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
}

// page is a browser's tab that remembers what went wrong in it.
type page struct {
	context.Context
	mu     sync.Mutex
	faults []string
}

func open(t *testing.T, width, height int64) *page {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing; run: make test-setup")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	p := &page{Context: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			p.faults = append(p.faults, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
				p.faults = append(p.faults, fmt.Sprint("console: ", string(e.Args[0].Value)))
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError {
				p.faults = append(p.faults, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	})
	p.do(t, log.Enable(), emulation.SetDeviceMetricsOverride(width, height, 1, false))
	return p
}

func (p *page) do(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(p, actions...); err != nil {
		t.Fatal(err, p.seen())
	}
}

func (p *page) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.faults...)
}

func (p *page) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// eval returns what a script says.
func eval[T any](t *testing.T, p *page, script string) T {
	t.Helper()
	var v T
	p.do(t, chromedp.Evaluate(script, &v))
	return v
}

// await waits until a script is true, and returns how long that took.
func (p *page) await(t *testing.T, what, script string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		if eval[bool](t, p, script) {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: not after %s; the page says\n%s\n%v", what, patience, eval[string](t, p, "document.body.innerText"), p.seen())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
