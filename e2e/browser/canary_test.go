package browser

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// What strangers may name things by: none may become a part of the page.
const (
	fileCanary = `<img src=x onerror=window.cracked=1>` // a file's name has no slash
	nameCanary = `<b id=cracked>xx`                     // as long as semantic-builtin
)

// hostileModel is the built-in model under names that are canaries: its file's, under which it is
// served, and the one in its metadata.
func hostileModel(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile("../../engine/builtin/semantic-builtin.gguf")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, []byte("semantic-builtin"))
	if at < 0 || at > 4096 || len(nameCanary) != len("semantic-builtin") {
		t.Fatal("the model's name is not at the head of its file")
	}
	copy(file[at:], nameCanary)
	path := filepath.Join(t.TempDir(), fileCanary+".gguf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCanariesStayText gives the pod a model, an agent, a user agent, a path, an error and whole log
// lines and files whose names are markup, and looks at every view, where each is to be read.
func TestCanariesStayText(t *testing.T) {
	p := startPod(t, "--model", hostileModel(t))
	id := p.ask(t, canary, "What is the KV pool?")
	p.provoke(t)
	b := open(t, 1280, 900)
	b.do(t, chromedp.Navigate(p.link))
	b.await(t, "the model's name is text", fmt.Sprintf(`document.querySelector(".model").textContent === %q`, fileCanary))
	hostileLog(t, filepath.Join(p.dir, "logs"), id)
	reads := func(what, text string) {
		t.Helper()
		b.await(t, what+" is text", fmt.Sprintf(`document.querySelector("#view").innerText.includes(%q)`, text))
		b.holds(t)
	}
	for _, v := range views {
		b.show(t, v.name)
		switch v.name {
		case "agents":
			reads("an agent's name", canary)
		case "logs":
			reads("a file's name", fileCanary+".log")
		case "playground":
			b.do(t, chromedp.SendKeys("#agent-left", canary, chromedp.ByQuery))
			b.say(t, "left", canary)
			reads("what was said", canary)
		}
		b.holds(t)
	}
	b.show(t, "request")
	b.do(t, chromedp.Evaluate(`location.hash = "request/`+id+`"`, nil))
	for _, field := range []string{"level", "msg", "process", "finish", "path", "model", "key of a field"} {
		reads("the story's "+field, canaryOf(field))
	}
	reads("what is nested in the story", "nested<img src=x onerror=")
	b.do(t, chromedp.Evaluate(`location.hash = "request/`+`" + encodeURIComponent(`+fmt.Sprintf("%q", canary)+`)`, nil))
	b.await(t, "a request's id that is markup is refused", `document.querySelector("[role=alert]").textContent.length > 0`)
	if eval[bool](t, b, `window.cracked === 1 || document.querySelector("img, #cracked") !== null`) {
		t.Error("an address with markup became more than text")
	}
}

// provoke has the pod write lines and errors with canaries of its own accord.
func (p *pod) provoke(t *testing.T) {
	t.Helper()
	for _, r := range []struct{ method, path, body string }{
		{http.MethodGet, "/v1/%3Cimg%20src=x%20onerror=window.cracked=1%3E", ""},
		{http.MethodPost, "/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}]}`, canary)},
		{http.MethodPost, "/admin/model/swap", fmt.Sprintf(`{"model":%q}`, "/"+fileCanary)},
	} {
		req, err := http.NewRequest(r.method, p.url+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+adminKey)
		req.Header.Set("User-Agent", canary)
		req.Header.Set("X-Agent-ID", canary)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s %s: status %d", r.method, r.path, resp.StatusCode)
		}
	}
}

func canaryOf(field string) string { return field + canary }

// hostileLog writes a file as a process that was broken into could: every field of its line that
// the page shows is a canary.
func hostileLog(t *testing.T, dir, id string) {
	t.Helper()
	line := fmt.Sprintf(`{"ts":%q,"boot":"0123456789abcdef","seq":1,"level":%q,"msg":%q,"process":%q,"request_id":%q,"finish":%q,"path":%q,"model":%q,%q:1,"deep":{"x":%q}}`+"\n",
		time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"), canaryOf("level"), canaryOf("msg"), canaryOf("process"), id,
		canaryOf("finish"), canaryOf("path"), canaryOf("model"), canaryOf("key of a field"), canaryOf("nested"))
	if err := os.WriteFile(filepath.Join(dir, fileCanary+".log"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
}
