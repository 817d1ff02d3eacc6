// Package browser drives the sidecar's console in Debian's chromium against a whole pod. It is a
// module of its own, so that the product's stays small.
//
// A page is redrawn while a test looks at it: the tests wait for what a view shows of its own, and
// press what they have found by script, never a place on the screen.
package browser

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	patience = 60 * time.Second
	whole    = 8 * time.Minute // of a page
	canary   = `<img src=x onerror="window.cracked=1"><script>window.cracked=1</script>`
)

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
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, whole)
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

// await waits until a script is true, and returns how long that took. What is not there yet, so
// that the script throws, is not true.
func (p *page) await(t *testing.T, what, script string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		if eval[bool](t, p, "(() => { try { return Boolean("+script+") } catch { return false } })()") {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: not after %s; the page says\n%s\n%v", what, patience, eval[string](t, p, "document.body.innerText"), p.seen())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// press clicks what a script finds, as soon as it is there and can be pressed: in one turn of the
// page's own loop, so that no redrawing comes between.
func (p *page) press(t *testing.T, what, element string) {
	t.Helper()
	p.await(t, what, "(e => e && !e.disabled && e.offsetParent !== null && (e.click(), true))("+element+")")
}

// view is one of the console's, and what it shows once its data has come.
type view struct{ name, title, shows string }

var views = []view{
	{"overview", "Overview", `document.querySelectorAll("[data-process] .pill.good").length === 3 && document.querySelectorAll(".chart canvas").length === 6`},
	{"request", "A request's story", `document.querySelectorAll("tbody a[href^='#request/']").length > 0`},
	{"agents", "Agents", `document.querySelectorAll("tbody .pill").length > 0`},
	{"limits", "Limits", `/Requests need a key|No key is asked for/.test(document.querySelector("#view").innerText)`},
	{"alerts", "Alerts", `document.querySelectorAll("tbody tr").length > 20`},
	{"logs", "Logs", `document.querySelectorAll("tbody tr").length > 3 && document.querySelectorAll("#view .pill").length > 1`},
	{"sbom", "SBOM", `document.querySelectorAll("tbody tr").length > 20 && document.querySelectorAll("#view .pill").length > 0`},
	{"playground", "Playground", `document.querySelector("#text-left").offsetParent !== null && document.querySelector("#text-right").offsetParent !== null`},
}

// show goes to a view and waits until it is there with what it shows.
func (p *page) show(t *testing.T, name string) {
	t.Helper()
	for _, v := range views {
		if v.name != name {
			continue
		}
		p.do(t, chromedp.Evaluate(`location.hash = "`+name+`"`, nil))
		p.await(t, "the view "+name, fmt.Sprintf(`[...document.querySelectorAll("#view h1")].filter(e => e.offsetParent !== null).map(e => e.textContent).join() === %q && (%s)`, v.title, v.shows))
		return
	}
	t.Fatalf("there is no view %s", name)
}

// holds says that nothing of what strangers wrote became a part of the page, and that the page is
// without errors.
func (p *page) holds(t *testing.T) {
	t.Helper()
	if eval[bool](t, p, `window.cracked === 1 || document.querySelector("img, #cracked, body script:not([src])") !== null`) {
		t.Errorf("a canary became more than text: %s", eval[string](t, p, `document.querySelector("img, #cracked, body script:not([src])")?.outerHTML ?? "it ran"`))
	}
	if faults := p.seen(); len(faults) > 0 {
		t.Errorf("errors in the page: %q", faults)
	}
}
