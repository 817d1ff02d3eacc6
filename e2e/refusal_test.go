package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// badRequest is a request that must be refused, and how.
type badRequest struct {
	method, path, body string
	status             int
	code, param        string
}

// context8k is how many tokens the default model holds.
const context8k = 8192

func badRequests() []badRequest {
	with := func(field string, value any) string { return chat("Hi.", 1).with(body{field: value}).String() }
	return []badRequest{
		{"POST", chatPath, ``, 400, "invalid_json", ""},
		{"POST", chatPath, `{`, 400, "invalid_json", ""},
		{"POST", chatPath, `{"model":"default"`, 400, "invalid_json", ""},
		{"POST", chatPath, "\x00\xff", 400, "invalid_json", ""},
		{"POST", chatPath, `[1,2]`, 400, "invalid_type", ""},
		{"POST", chatPath, `{"model":"default"}`, 400, "missing_required_parameter", "messages"},
		{"POST", chatPath, with("messages", []any{}), 400, "invalid_value", "messages"},
		{"POST", chatPath, with("messages", "Hi."), 400, "invalid_type", "messages"},
		{"POST", chatPath, with("messages", []any{body{"role": "user", "content": 7}}), 400, "invalid_type", "messages[0].content"},
		{"POST", chatPath, with("messages", []any{body{"role": "king", "content": "Hi."}}), 400, "invalid_value", "messages[0].role"},
		{"POST", chatPath, with("model", 7), 400, "invalid_type", "model"},
		{"POST", chatPath, with("model", "gpt-5"), 404, "model_not_found", "model"},
		{"POST", chatPath, with("max_tokens", -1), 400, "invalid_value", "max_tokens"},
		{"POST", chatPath, with("max_tokens", 0), 400, "invalid_value", "max_tokens"},
		{"POST", chatPath, with("max_tokens", "many"), 400, "invalid_type", "max_tokens"},
		{"POST", chatPath, with("max_tokens", 1.5), 400, "invalid_type", "max_tokens"},
		{"POST", chatPath, with("max_tokens", context8k), 400, "context_length_exceeded", "max_tokens"},
		{"POST", chatPath, with("max_tokens", 1<<62), 400, "invalid_value", "max_tokens"},
		{"POST", chatPath, with("temperature", "hot"), 400, "invalid_type", "temperature"},
		{"POST", chatPath, with("temperature", 2.5), 400, "invalid_value", "temperature"},
		{"POST", chatPath, with("stop", []any{"a", 7}), 400, "invalid_type", "stop[1]"},
		{"POST", chatPath, with("stream", "yes"), 400, "invalid_type", "stream"},
		{"POST", chatPath, with("store", true), 400, "unsupported_parameter", "store"},
		{"POST", chatPath, with("modalities", []any{"text", "audio"}), 400, "unsupported_parameter", "modalities"},
		{"POST", chatPath, with("max_tokns", 3), 400, "unknown_parameter", "max_tokns"},
		{"POST", chatPath, chat(strings.Repeat("word ", 2*context8k), 1).String(), 400, "context_length_exceeded", "messages"},
		{"POST", completionPath, `{"model":"default"}`, 400, "missing_required_parameter", "prompt"},
		{"POST", completionPath, `{"model":"default","prompt":""}`, 400, "invalid_value", "prompt"},
		{"POST", completionPath, `{"model":"default","prompt":[1,2,99999999]}`, 400, "invalid_value", "prompt[2]"},
		{"POST", "/v1/nothing", `{}`, 404, "not_found", ""},
		{"GET", "/", ``, 404, "not_found", ""},
		{"POST", "/internal/state", `{}`, 404, "not_found", ""},
		{"GET", "/internal/metrics", ``, 404, "not_found", ""},
		{"GET", chatPath, ``, 405, "method_not_allowed", ""},
		{"DELETE", "/v1/models", ``, 405, "method_not_allowed", ""},
		{"POST", "/health/ready", `{}`, 405, "method_not_allowed", ""},
	}
}

func TestBadRequestIsRefusedWithTheFieldToBlame(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for _, bad := range badRequests() {
		for _, stream := range []bool{false, true} {
			text := bad.body
			if stream {
				if !strings.HasSuffix(text, "}") || len(text) < 3 {
					continue
				}
				text = text[:len(text)-1] + `,"stream":true}`
			}
			if strings.Count(text, `"stream"`) > 1 {
				continue
			}
			r := p.call(bad.method, bad.path, text)
			checkRefusal(t, fmt.Sprintf("%s %s %.150s", bad.method, bad.path, text), r, bad)
		}
	}
	p.mustGenerate(t, chat("Hi.", 1))
}

func checkRefusal(t *testing.T, what string, r reply, want badRequest) {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(r.body), &a); r.err != nil || err != nil || a.Error == nil {
		t.Errorf("%s: %v, %v, %d %s", what, r.err, err, r.status, r.body)
		return
	}
	param := ""
	if a.Error.Param != nil {
		param = *a.Error.Param
	}
	if r.status != want.status || a.Error.Code != want.code || param != want.param || a.Error.Message == "" || a.Error.Type != "invalid_request_error" {
		t.Errorf("%s\ngot  %d %s (%s) %s: %s\nwant %d %s (%s)", what, r.status, a.Error.Code, param, a.Error.Type, a.Error.Message, want.status, want.code, want.param)
	}
	if r.header.Get(api.HeaderRequestID) == "" || r.header.Get(api.HeaderResponseTime) == "" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: headers %v", what, r.header)
	}
	if r.status == http.StatusMethodNotAllowed && r.header.Get("Allow") == "" {
		t.Errorf("%s: no Allow header", what)
	}
}

func TestBodyOverTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	large := chat(strings.Repeat("x", 10<<20), 1).String()
	r := p.call(http.MethodPost, chatPath, large)
	checkRefusal(t, "a body of more than 10 MiB", r, badRequest{status: 413, code: "body_too_large"})
	r = reply{}
	if req, err := newRequest(t.Context(), http.MethodPost, p.url+chatPath, large); err == nil {
		req.ContentLength = -1 // chunked: its size is not known before
		req.Body = io.NopCloser(strings.NewReader(large))
		if resp, err := p.client.Do(req); err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			r = reply{resp.StatusCode, resp.Header, string(text), nil}
		} else {
			r.err = err
		}
	}
	checkRefusal(t, "the same in chunks", r, badRequest{status: 413, code: "body_too_large"})
	p.mustGenerate(t, chat("Hi.", 1))
}

func TestContextIsUsedUpToItsEndAndNotBeyond(t *testing.T) {
	t.Parallel()
	p := newPod(t, "--context", "64")
	prompt := p.mustGenerate(t, counting(1)).usage.Prompt
	if g := p.mustGenerate(t, counting(64-prompt)); g.usage.Total != 64 || g.finish != "length" {
		t.Errorf("up to the end: %+v", g)
	}
	r := p.call(http.MethodPost, completionPath, counting(65-prompt).String())
	checkRefusal(t, "one token more", r, badRequest{status: 400, code: "context_length_exceeded", param: "max_tokens"})
	unbound := body{"model": "default", "temperature": 0, "prompt": counting(1)["prompt"]}
	if g := p.mustGenerate(t, unbound); g.usage.Total != 64 || g.finish != "length" {
		t.Errorf("without a bound: %+v", g)
	}
}

// TestNonsenseOnTheConnectionIsAnsweredAndClosed writes what is no HTTP.
func TestNonsenseOnTheConnectionIsAnsweredAndClosed(t *testing.T) {
	t.Parallel()
	p := sharedPod(t)
	for name, sent := range map[string]string{
		"no HTTP":         "hello\r\n\r\n",
		"two lengths":     "POST " + chatPath + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"length and more": "POST " + chatPath + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"huge header":     "GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Large: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", address(p.port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, sent) // the pod may close before it has read all
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode/100 != 4 || !resp.Close {
				t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
			}
		})
	}
}
