package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// always are the fields of every line of every process.
var always = []string{"ts", "boot", "seq", "level", "msg", "process"}

// accessFields are what an access line may hold beside them.
var accessFields = []string{
	"request_id", "trace_id", "span_id", "tenant", "key", "agent", "method", "path", "status", "finish", "duration_ms",
	"ttft_ms", "queue_ms", "prompt_tokens", "cached_tokens", "completion_tokens", "bytes_in", "bytes_out", "client",
	"auth_ms", "limit_ms", "read_ms", "forward_ms", "prefill_ms", "decode_ms", "engine_ms", "write_ms", // the waterfall
}

// checkSchema holds every line of a log to the one schema.
func checkSchema(t *testing.T, process string, lines []line) {
	t.Helper()
	if len(lines) == 0 {
		t.Errorf("%s.log is empty", process)
	}
	for _, l := range lines {
		for _, field := range always {
			if l[field] == nil {
				t.Errorf("%s.log: no %s in %v", process, field, l)
			}
		}
		if _, err := time.Parse(time.RFC3339Nano, l.str("ts")); err != nil || l.str("process") != process || l.num("seq") < 1 {
			t.Errorf("%s.log: %v in %v", process, err, l)
		}
		if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.str("level")) {
			t.Errorf("%s.log: level of %v", process, l)
		}
		if l.str("msg") != "request" {
			continue
		}
		for field := range l {
			if !slices.Contains(always, field) && !slices.Contains(accessFields, field) {
				t.Errorf("%s.log: the access line has a field %s: %v", process, field, l)
			}
		}
	}
	checkSequence(t, process, lines)
}

// logged is a request and what its access line must say.
type logged struct {
	id, method, path, body string
	status                 float64
	finish                 api.Finish
	reachesEngine          bool
}

// The words that must not come back: in what is asked, in what the model says, in
// a query, in a key.
const (
	promptWord = "quartzmoon"
	systemWord = "velvetharbour"
	queryWord  = "sesameopen"
	keyWord    = "sk-tulipwindow"
	stopWord   = "amberlantern"
	fieldWord  = "copperwillow"
)

func loggedRequests() []logged {
	secret := chat(promptWord+" "+promptWord+" "+promptWord, 6).with(body{
		"stop": stopWord, "user": fieldWord,
		"messages": []message{{"system", systemWord}, {"user", strings.Repeat(promptWord+" ", 8)}},
	})
	echo := body{"model": "default", "temperature": 0, "max_tokens": 16, "prompt": strings.Repeat(promptWord+" ", 8)}
	return []logged{
		{"whole", "POST", chatPath, secret.String(), 200, "", true},
		{"streamed", "POST", chatPath, secret.with(body{"stream": true}).String(), 200, "", true},
		{"echo", "POST", completionPath, echo.String(), 200, api.FinishLength, true},
		{"echo-streamed", "POST", completionPath, echo.with(body{"stream": true}).String(), 200, api.FinishLength, true},
		{"models", "GET", "/v1/models", "", 200, api.FinishOK, true},
		{"bad-json", "POST", chatPath, `{"` + promptWord + `":`, 400, api.FinishRejected, true},
		{"bad-value", "POST", chatPath, secret.with(body{"temperature": fieldWord}).String(), 400, api.FinishRejected, true},
		{"no-model", "POST", chatPath, secret.with(body{"model": "gpt-5"}).String(), 404, api.FinishRejected, true},
		{"no-route", "POST", "/v1/nothing", secret.String(), 404, api.FinishRejected, false},
		{"no-method", "PUT", chatPath, secret.String(), 405, api.FinishRejected, false},
		{"version", "GET", "/version", "", 200, api.FinishOK, false},
	}
}

// TestOneRequestIsOneLineInEachLog sends requests with marked words and reads, after
// the pod's end, all that it wrote.
func TestOneRequestIsOneLineInEachLog(t *testing.T) {
	t.Parallel()
	p := newDoomedPod(t, settings{args: []string{"--log-level", "debug"}})
	usages := map[string]usage{}
	said := ""
	for _, q := range loggedRequests() {
		header := []string{api.HeaderRequestID, q.id, "Authorization", "Bearer " + keyWord, "X-Api-Key", keyWord}
		path := q.path + "?token=" + queryWord
		r := p.call(q.method, path, q.body, header...)
		if r.err != nil || float64(r.status) != q.status || r.header.Get(api.HeaderRequestID) != q.id {
			t.Errorf("%s: %v, %d %v %s", q.id, r.err, r.status, r.header, r.body)
		}
		said += r.body
	}
	p.call(http.MethodGet, "/health/live?token="+queryWord, "", api.HeaderRequestID, "probe")
	g := p.mustGenerate(t, counting(5), api.HeaderRequestID, "counted")
	usages["counted"] = g.usage
	g = p.mustGenerate(t, counting(6).with(body{"stream": true}), api.HeaderRequestID, "counted-streamed")
	usages["counted-streamed"] = g.usage
	if !strings.Contains(said, promptWord) {
		t.Errorf("the model did not say %s, so nothing shows that answers stay out of the logs: %s", promptWord, said)
	}
	metrics := p.metrics(t) + exposition(t, p.sidecar)
	p.mustStop(t)

	byProcess := map[string]map[string][]line{}
	for _, process := range []string{"serve", "proxy", "engine", "sidecar"} {
		lines := mustReadLogs(t, p.logDir(), process)
		checkSchema(t, process, lines)
		byProcess[process] = ofRequest(lines)
	}
	checkAccess(t, byProcess["proxy"], byProcess["engine"], usages)
	checkSecrets(t, p, metrics)
}

func checkAccess(t *testing.T, proxy, engine map[string][]line, usages map[string]usage) {
	t.Helper()
	if len(proxy["probe"]) != 0 {
		t.Errorf("a probe was logged: %v", proxy["probe"])
	}
	for _, q := range loggedRequests() {
		lines := proxy[q.id]
		if len(lines) != 1 {
			t.Errorf("%s: %d lines in proxy.log", q.id, len(lines))
			continue
		}
		l := lines[0]
		read := len(q.body)
		if !q.reachesEngine {
			read = 0 // refused without reading it
		}
		if l.num("status") != q.status || l.str("method") != q.method || l.str("path") != q.path || l.num("bytes_in") != float64(read) ||
			l.str("client") != "127.0.0.1" || l.num("duration_ms") <= 0 || len(l.str("trace_id")) != 32 || len(l.str("span_id")) != 16 {
			t.Errorf("%s: %v", q.id, l)
		}
		if q.finish != "" && l.str("finish") != string(q.finish) {
			t.Errorf("%s: finish %s, want %s", q.id, l.str("finish"), q.finish)
		}
		want := 0
		if q.reachesEngine {
			want = 1
		}
		if n := len(engine[q.id]); n != want {
			t.Errorf("%s: %d lines in engine.log, want %d", q.id, n, want)
		} else if n == 1 && (engine[q.id][0].str("finish") != l.str("finish") || engine[q.id][0].num("status") != l.num("status")) {
			t.Errorf("%s: the proxy says\n%v, the engine\n%v", q.id, l, engine[q.id][0])
		}
	}
	for id, u := range usages {
		for process, lines := range map[string][]line{"proxy": proxy[id], "engine": engine[id]} {
			if len(lines) != 1 {
				t.Errorf("%s: %d lines in %s.log", id, len(lines), process)
				continue
			}
			l := lines[0]
			if l.num("prompt_tokens") != float64(u.Prompt) || l.num("completion_tokens") != float64(u.Completion) ||
				l.num("ttft_ms") <= 0 || l.num("ttft_ms") > l.num("duration_ms") || l["queue_ms"] == nil || l.str("finish") != "length" {
				t.Errorf("%s: %s.log says %v, usage is %+v", id, process, l, u)
			}
		}
	}
}

// checkSecrets looks for the marked words in everything that the pod wrote.
func checkSecrets(t *testing.T, p *pod, metrics string) {
	t.Helper()
	wrote := map[string]string{"stderr": p.stderr.String(), "stdout": p.stdout.String(), "metrics": metrics}
	paths, err := filepath.Glob(filepath.Join(p.logDir(), "*"))
	if err != nil || len(paths) < 4 {
		t.Fatalf("logs: %v, %v", paths, err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wrote[filepath.Base(path)] = string(b)
	}
	for where, text := range wrote {
		for _, word := range []string{promptWord, systemWord, queryWord, keyWord, stopWord, fieldWord} {
			if strings.Contains(text, word) {
				t.Errorf("%s holds %q: …%s…", where, word, around(text, word))
			}
		}
	}
}

func around(text, word string) string {
	at := strings.Index(text, word)
	return text[max(0, at-200):min(len(text), at+100)]
}
