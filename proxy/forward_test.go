package proxy

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

func TestJSONAnswerIsForwardedCountedAndLogged(t *testing.T) {
	h := start(t, ok)
	got := h.ask(post(`{"messages":[]}`, "X-Request-ID: my-id_1.2", "X-Agent-ID: coder-7"))
	if got.status != 200 || got.body != `{"answer":true}` || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("answer %+v", got)
	}
	if id := got.header.Get("X-Request-ID"); id != "my-id_1.2" {
		t.Errorf("X-Request-ID %q", id)
	}
	if !regexp.MustCompile(`^\d+\.\d\dms$`).MatchString(got.header.Get("X-Response-Time")) {
		t.Errorf("X-Response-Time %q", got.header.Get("X-Response-Time"))
	}
	for name := range got.header {
		if strings.HasPrefix(name, "Semantic-") {
			t.Errorf("%s reached the client", name)
		}
	}
	line := h.waitLines(1)[0]
	want := map[string]any{
		"request_id": "my-id_1.2", "method": "POST", "path": "/v1/chat/completions", "status": 200.0, "finish": "stop",
		"prompt_tokens": 7.0, "cached_tokens": 3.0, "completion_tokens": 2.0, "queue_ms": 1.25,
		"bytes_in": 15.0, "bytes_out": 15.0, "client": "127.0.0.1", "tenant": "default", "agent": "coder-7", "process": "proxy",
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("log field %s is %v, not %v", k, line[k], v)
		}
	}
	if ttft := line["ttft_ms"].(float64); ttft < 12.5 || ttft > line["duration_ms"].(float64)+12.5 {
		t.Errorf("ttft_ms %v", ttft)
	}
	text := h.ask(get("/metrics")).body
	for series, value := range map[string]float64{
		`semantic_request_total{method="POST",path="/v1/chat/completions",status_code="200"}`: 1,
		`semantic_request_duration_seconds_count{method="POST",path="/v1/chat/completions"}`:  1,
		`semantic_time_to_first_token_seconds_count`:                                          1,
		`semantic_finish_total{class="stop"}`:                                                 1,
		`semantic_finish_total{class="engine_died"}`:                                          0,
		`semantic_requests_in_flight`:                                                         0,
		`semantic_engine_up`:                                                                  1,
		`semantic_engine_restarts_total`:                                                      0,
		`semantic_request_total{method="GET",path="/v1/models",status_code="200"}`:            0,
		`semantic_time_to_first_token_seconds_bucket{le="0.01"}`:                              0,
		`semantic_time_to_first_token_seconds_bucket{le="+Inf"}`:                              1,
		`semantic_log_lines_total{process="proxy",level="error"}`:                             0,
	} {
		if got := valueOf(text, series); got != value {
			t.Errorf("%s is %v, not %v", series, got, value)
		}
	}
}

// What goes to the engine holds nothing of the client's but what is meant to.
func TestOnlyTheProxySetsThePodsHeaders(t *testing.T) {
	h := start(t, ok)
	h.ask(post(`{}`,
		"Semantic-Tenant: evil", "semantic-key: evil", "SEMANTIC-AGENT: evil", "Semantic-Deadline: 999999999",
		"Semantic-Token-Allowance: 999999999", "Semantic-Finish: stop", "Authorization: Bearer secret", "X-Api-Key: secret", "Cookie: secret",
		"Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "TE: trailers", "Proxy-Authorization: secret", "Upgrade: h2c",
		"X-Request-ID: bad id!", "anthropic-version: 2023-06-01", "X-Session-ID: s1"))
	k := h.engine.requests()[0]
	if k.raw[:strings.Index(k.raw, "\r\n")] != "POST /v1/chat/completions HTTP/1.1" {
		t.Errorf("request line: %q", k.raw)
	}
	for _, word := range []string{"evil", "secret", "999999999", "X-Hop", "Keep-Alive", "Upgrade", "bad id"} {
		if strings.Contains(strings.ToLower(k.raw), strings.ToLower(word)) {
			t.Errorf("%q reached the engine:\n%s", word, k.raw)
		}
	}
	for name, want := range map[string]string{
		"Host": "^engine$", "Content-Type": "^application/json$", "Content-Length": "^2$", "X-Request-Id": "^[0-9a-f]{16}$",
		"Traceparent": "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$", "Semantic-Tenant": "^default$", "Semantic-Agent": "^s1$",
		"Semantic-Deadline": `^\d{3,5}$`, "Anthropic-Version": "^2023-06-01$",
	} {
		if got := k.header[name]; len(got) != 1 || !regexp.MustCompile(want).MatchString(got[0]) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTraceGoesOn(t *testing.T) {
	h := start(t, ok)
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	h.ask(post(`{}`, "traceparent: 00-"+trace+"-"+span+"-01", "tracestate: a=b"))
	h.ask(post(`{}`, "traceparent: 00-"+trace+"-"+strings.Repeat("0", 16)+"-01", "tracestate: a=b"))
	lines := h.waitLines(2)
	first, second := h.engine.requests()[0].header, h.engine.requests()[1].header
	if p := first.Get("traceparent"); !strings.HasPrefix(p, "00-"+trace+"-") || strings.Contains(p, span) || !strings.HasSuffix(p, "-01") {
		t.Errorf("traceparent to the engine: %s", p)
	}
	if first.Get("tracestate") != "a=b" || lines[0]["trace_id"] != trace || !strings.Contains(first.Get("traceparent"), lines[0]["span_id"].(string)) {
		t.Errorf("tracestate %q, log %v", first.Get("tracestate"), lines[0])
	}
	if p := second.Get("traceparent"); strings.Contains(p, trace) || second.Get("tracestate") != "" {
		t.Errorf("an invalid traceparent was continued: %s", p)
	}
}

func TestEngineErrorsPassWithTheirClass(t *testing.T) {
	h := start(t, func(k *call) {
		switch string(k.body) {
		case "400":
			k.json(400, `{"error":{"message":"no"}}`, "Semantic-Finish: rejected")
		case "503":
			k.json(503, `{"error":{"message":"full"}}`, "Semantic-Finish: shed")
		case "500":
			k.json(500, `{"error":{"message":"oops"}}`)
		}
	})
	for _, c := range []struct {
		status        int
		finish, retry string
	}{{400, "rejected", ""}, {503, "shed", "1"}, {500, "error", ""}} {
		got := h.ask(post(fmt.Sprint(c.status)))
		if got.status != c.status || got.header.Get("Retry-After") != c.retry || !strings.Contains(got.body, "message") {
			t.Errorf("answer %+v", got)
		}
	}
	for i, line := range h.waitLines(3) {
		if want := []string{"rejected", "shed", "error"}[i]; line["finish"] != want {
			t.Errorf("finish %v, not %s", line["finish"], want)
		}
	}
}

func TestBrokenAnswersBecome502(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, answer := range map[string]string{
		"dies before a byte":          "",
		"dies in the status line":     "HTTP/1.1 2",
		"dies in the headers":         head + "X-A: b",
		"dies in the body":            head + "Content-Length: 10\r\n\r\n{\"a\":",
		"dies in a chunk":             head + "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"a\":",
		"dies before the last chunk":  head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
		"dies in the trailers":        head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSemantic-Fin",
		"does not say how long it is": head + "\r\n{}",
		"two lengths":                 head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"length and chunks":           head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
		"negative length":             head + "Content-Length: -2\r\n\r\n{}",
		"bare LF":                     "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
		"chunk size is no number":     head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
		"chunk longer than its size":  head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
		"garbage":                     strings.Repeat("\x00\xff{}\r\n", 100),
		"endless header":              head + "X: " + strings.Repeat("a", 100<<10) + "\r\n\r\n",
		"too many headers":            head + strings.Repeat("X-A: b\r\n", 1000) + "\r\n",
		"control character":           head + "X-A: b\x01\r\nContent-Length: 2\r\n\r\n{}",
		"switches protocols":          "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"status out of range":         "HTTP/1.1 999 Ha\r\nContent-Length: 2\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, func(k *call) { k.write(answer); k.die() })
			got := h.ask(post(`{}`))
			if got.status != 502 || !strings.Contains(got.body, `"code":"engine_died"`) || strings.Contains(got.body, `"a":`) {
				t.Errorf("answer %+v", got)
			}
			if n := len(h.engine.requests()); n != 1 {
				t.Errorf("the engine got the request %d times", n)
			}
			if line := h.waitLines(1)[0]; line["finish"] != "engine_died" || line["status"] != 502.0 {
				t.Errorf("log: %v", line)
			}
		})
	}
}

func TestInterimAnswersAndLargeBodiesPass(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20<<10)
	h := start(t, func(k *call) {
		k.write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
		k.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		for rest := string(k.body); len(rest) > 0; {
			n := min(len(rest), 7001)
			k.chunk(rest[:n])
			rest = rest[n:]
		}
		k.endStream("Semantic-Finish: length", "Semantic-Completion-Tokens: 5")
	})
	c := h.dial()
	for range 3 { // on one connection of the client's, and one of the engine's
		c.send(post(large))
		if got := c.read(); got.status != 200 || got.body != large || got.header.Get("Link") != "" {
			t.Fatalf("status %d, %d bytes, %v", got.status, len(got.body), got.header)
		}
	}
	if line := h.waitLines(3)[2]; line["finish"] != "length" || line["completion_tokens"] != 5.0 || line["bytes_in"] != float64(len(large)) {
		t.Errorf("log: %v", line)
	}
}

// A POST goes to the engine once, whatever happens to idle connections.
func TestStaleConnectionsNeverMakeAPostFailOrGoTwice(t *testing.T) {
	h := start(t, ok)
	const rounds = 50
	for i := range rounds {
		if got := h.ask(post(fmt.Sprint(i))); got.status != 200 {
			t.Fatalf("round %d: %+v", i, got)
		}
		h.engine.hangUp() // the next request finds the idle connection dead
	}
	seen := map[string]int{}
	for _, k := range h.engine.requests() {
		seen[string(k.body)]++
	}
	for i := range rounds {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Errorf("request %d reached the engine %d times", i, n)
		}
	}
}

// An engine that dies with the request in its hands must not get it again.
func TestPostIsNotRepeatedWhenTheEngineHadIt(t *testing.T) {
	var served int
	h := start(t, func(k *call) {
		if served++; served == 1 {
			ok(k)
			return
		}
		k.die()
	})
	if got := h.ask(post(`1`)); got.status != 200 {
		t.Fatal(got)
	}
	if got := h.ask(post(`2`)); got.status != 502 { // over the kept-alive connection
		t.Fatal(got)
	}
	if n := len(h.engine.requests()); n != 2 {
		t.Fatalf("2 requests reached the engine as %d", n)
	}
}

func TestAnUnaskedForAnswerIsNotGivenToTheNextRequest(t *testing.T) {
	h := start(t, func(k *call) {
		ok(k)
		if string(k.body) == "first" {
			k.json(200, `{"answer":"for nobody"}`)
		}
	})
	if got := h.ask(post(`first`)); got.body != `{"answer":true}` {
		t.Fatal(got)
	}
	time.Sleep(20 * time.Millisecond)
	if got := h.ask(post(`second`)); got.body != `{"answer":true}` {
		t.Fatal(got)
	}
}

func TestConnectionsToTheEngineAreKeptAlive(t *testing.T) {
	h := start(t, ok)
	conns := map[string]bool{}
	for range 10 {
		h.ask(post(`{}`))
	}
	for _, k := range h.engine.requests() {
		conns[fmt.Sprintf("%p", k.conn)] = true
	}
	if len(conns) != 1 {
		t.Errorf("10 requests one after the other used %d connections", len(conns))
	}
}

func TestInFlightCeilingSheds(t *testing.T) {
	release := make(chan struct{})
	h := start(t, func(k *call) { <-release; ok(k) }, func(c *Config) { c.MaxInFlight = 2 })
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if got := h.ask(post(`{}`)); got.status != 200 {
				t.Errorf("a request within the ceiling got %+v", got)
			}
		})
	}
	h.eventually("two requests with the engine", func() bool { return len(h.engine.requests()) == 2 })
	got := h.ask(post(`{}`))
	if got.status != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, "--max-in-flight") {
		t.Errorf("over the ceiling: %+v", got)
	}
	if got := h.ask(get("/health/ready")); got.status != 200 {
		t.Errorf("a probe over the ceiling: %+v", got)
	}
	close(release)
	wg.Wait()
	if got := h.ask(post(`{}`)); got.status != 200 {
		t.Errorf("after the load: %+v", got)
	}
	if h.metric(`semantic_finish_total{class="shed"}`) != 1 {
		t.Error("the shed request is not counted as shed")
	}
}

func TestRequestTimeoutBecomes504AndFreesTheEngine(t *testing.T) {
	closed := make(chan time.Duration, 1)
	h := start(t, func(k *call) { closed <- k.waitClosed() }, func(c *Config) { c.RequestTimeout = 100 * time.Millisecond })
	got := h.ask(post(`{}`))
	if got.status != 504 || !strings.Contains(got.body, "--request-timeout") {
		t.Fatalf("answer %+v", got)
	}
	<-closed
	if line := h.waitLines(1)[0]; line["finish"] != "deadline" {
		t.Errorf("log: %v", line)
	}
}

func TestRefusalsBeforeTheEngine(t *testing.T) {
	h := start(t, ok, func(c *Config) { c.MaxBody = 1000 })
	noType := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	for name, c := range map[string]struct {
		request string
		status  int
		code    string
		header  string
	}{
		"unknown route":         {get("/v1/nothing"), 404, "not_found", ""},
		"route with a slash":    {get("/v1/models/"), 404, "not_found", ""},
		"encoded route":         {get("/v1/%6dodels"), 404, "not_found", ""},
		"dotted route":          {get("/v1/x/../models"), 404, "not_found", ""},
		"wrong method":          {get("/v1/chat/completions"), 405, "method_not_allowed", "Allow: POST"},
		"wrong method of a GET": {postTo("/v1/models", "{}"), 405, "method_not_allowed", "Allow: GET"},
		"unknown method":        {"BREW /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed", "Allow: GET"},
		"lower-case method":     {"get /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed", "Allow: GET"},
		"HEAD where GET is":     {"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "", "Allow: GET"},
		"no content type":       {noType, 415, "unsupported_media_type", ""},
		"form":                  {strings.Replace(post("{}"), "application/json", "application/x-www-form-urlencoded", 1), 415, "unsupported_media_type", ""},
		"compressed":            {post("{}", "Content-Encoding: gzip"), 415, "unsupported_content_encoding", ""},
		"body over the limit":   {post(strings.Repeat("a", 1001)), 413, "body_too_large", ""},
		"body far over it":      {post(strings.Repeat("a", 4<<20)), 413, "body_too_large", ""},
		"chunked over it":       {"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + strings.Repeat("a", 2000) + "\r\n0\r\n\r\n", 413, "body_too_large", ""},
		"headers over it":       {get("/v1/models", "X-Long: "+strings.Repeat("a", 10<<10)), 431, "headers_too_large", ""},
		"long agent":            {post("{}", "X-Agent-ID: "+strings.Repeat("a", 300)), 400, "invalid_header", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := h.dial()
			go io.WriteString(conn, c.request) // the answer may come before all is sent
			got := conn.read()
			if got.status != c.status || !strings.Contains(got.body, c.code) {
				t.Errorf("answer %+v", got)
			}
			if id := got.header.Get("X-Request-ID"); !api.ValidRequestID([]byte(id)) || got.header.Get("X-Response-Time") == "" {
				t.Errorf("headers %v", got.header)
			}
			if name, value, _ := strings.Cut(c.header, ": "); got.header.Get(name) != value {
				t.Errorf("%s is %q", name, got.header.Get(name))
			}
			if c.code != "" && got.header.Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", got.header.Get("Content-Type"))
			}
		})
	}
	if n := len(h.engine.requests()); n != 0 {
		t.Errorf("%d refused requests reached the engine", n)
	}
	for _, line := range h.waitLines(17) {
		if line["finish"] != "rejected" {
			t.Errorf("log: %v", line)
		}
	}
	text := h.ask(get("/metrics")).body
	if valueOf(text, `semantic_request_total{method="other",path="/v1/models",status_code="405"}`) != 2 ||
		valueOf(text, `semantic_request_total{method="GET",path="other",status_code="404"}`) != 4 {
		t.Error("labels are not bounded as they should be")
	}
}

func TestErrorsHaveTheDialectsShape(t *testing.T) {
	h := start(t, ok)
	openAI := h.ask(get("/v1/chat/completions")).body
	anthropic := h.ask(get("/v1/messages")).body
	if want := `{"error":{"message":"/v1/chat/completions takes POST, not \"GET\"","type":"invalid_request_error","code":"method_not_allowed","param":null}}`; openAI != want {
		t.Errorf("OpenAI: %s", openAI)
	}
	if want := `{"type":"error","error":{"type":"invalid_request_error","message":"/v1/messages takes POST, not \"GET\""}}`; anthropic != want {
		t.Errorf("Anthropic: %s", anthropic)
	}
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	h := start(t, ok, func(c *Config) {
		c.ReadHeaderTimeout, c.ReadTimeout, c.IdleTimeout = 150*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	t.Run("body", func(t *testing.T) {
		c := h.dial()
		c.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		if got := c.read(); got.status != 408 || !strings.Contains(got.body, "--read-timeout") || got.header.Get("X-Request-ID") != "slow" {
			t.Errorf("answer %+v", got)
		}
	})
	t.Run("header", func(t *testing.T) {
		c := h.dial()
		c.send("POST /v1/completions HTTP/1.1\r\nHo")
		if got := c.read(); got.status != 408 || got.header.Get("X-Request-ID") == "" {
			t.Errorf("answer %+v", got)
		}
	})
	for name, request := range map[string]string{"silence": "", "idleness": post(`{}`)} {
		t.Run(name, func(t *testing.T) {
			c := h.dial()
			c.send(request)
			if request != "" {
				c.read()
			}
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("not closed silently: %v", err)
			}
		})
	}
	if lines := h.waitLines(3); lines[0]["status"] != 408.0 || lines[1]["status"] != 408.0 {
		t.Errorf("log: %v", lines)
	}
}

func TestVersionAndHeadRequests(t *testing.T) {
	h := start(t, ok)
	if got := h.ask(get("/version")); got.status != 200 || !strings.HasPrefix(got.body, `{"version":"`) || !strings.Contains(got.body, `"commit":"`) {
		t.Errorf("version: %+v", got)
	}
	c := h.dial()
	c.send("HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(c.in, &http.Request{Method: "HEAD"})
	if err != nil || r.StatusCode != 200 || r.ContentLength != int64(len(`{"status":"alive"}`)) {
		t.Errorf("HEAD: %v %v", r, err)
	}
	c.send(get("/version")) // the connection is still in step
	if got := c.read(); got.status != 200 {
		t.Errorf("after HEAD: %+v", got)
	}
}
