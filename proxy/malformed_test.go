package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// malformed are requests that two readers could understand differently, or that
// are none. Each is sent as it stands; none may reach the engine.
var malformed = map[string]string{
	"two content lengths":                 "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
	"two equal content lengths":           "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"list of content lengths":             "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2, 2\r\n\r\n{}",
	"length with a sign":                  "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: +2\r\n\r\n{}",
	"negative length":                     "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: -2\r\n\r\n{}",
	"hexadecimal length":                  "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 0x2\r\n\r\n{}",
	"length with a fraction":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2.0\r\n\r\n{}",
	"length that overflows":               "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 18446744073709551618\r\n\r\n{}",
	"empty length":                        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length:\r\n\r\n{}",
	"length and chunks":                   "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"chunks and length":                   "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"two transfer encodings":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"list of transfer encodings":          "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"unknown transfer encoding":           "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"identity":                            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
	"quoted chunked":                      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: \"chunked\"\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"chunked with a vertical tab":         "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: \x0bchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"transfer encoding of HTTP/1.0":       "POST /v1/completions HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"space before the colon":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length : 2\r\n\r\n{}",
	"tab before the colon":                "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding\t: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"space in a name":                     "GET /v1/models HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
	"space before a name":                 "GET /v1/models HTTP/1.1\r\n Host: x\r\n\r\n",
	"no colon":                            "GET /v1/models HTTP/1.1\r\nHost: x\r\nNoColon\r\n\r\n",
	"empty name":                          "GET /v1/models HTTP/1.1\r\nHost: x\r\n: value\r\n\r\n",
	"NUL in a name":                       "GET /v1/models HTTP/1.1\r\nHost: x\r\nA\x00B: 1\r\n\r\n",
	"NUL in a value":                      "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\x002\r\n\r\n",
	"CR in a value":                       "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\r2\r\n\r\n",
	"control character in a value":        "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\x012\r\n\r\n",
	"DEL in a value":                      "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\x7f2\r\n\r\n",
	"non-ASCII name":                      "GET /v1/models HTTP/1.1\r\nHost: x\r\nÄ: 1\r\n\r\n",
	"folded header":                       "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\r\n 2\r\n\r\n",
	"header folded by a tab":              "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1\r\n\t2\r\n\r\n",
	"folded transfer encoding":            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"bare LF behind the request line":     "GET /v1/models HTTP/1.1\nHost: x\r\n\r\n",
	"bare LF behind a header":             "GET /v1/models HTTP/1.1\r\nHost: x\nA: 1\r\n\r\n",
	"bare LF behind the last header":      "GET /v1/models HTTP/1.1\r\nHost: x\n\r\n",
	"bare LF as the empty line":           "GET /v1/models HTTP/1.1\r\nHost: x\r\n\n\r\n\r\n",
	"bare LF everywhere":                  "GET /v1/models HTTP/1.1\nHost: x\n\n",
	"bare LF before the request line":     "\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"bare CR behind the request line":     "GET /v1/models HTTP/1.1\rHost: x\r\n\r\n",
	"two hosts":                           "GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"two equal hosts":                     "GET /v1/models HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n",
	"no host":                             "GET /v1/models HTTP/1.1\r\nA: 1\r\n\r\n",
	"no header at all":                    "GET /v1/models HTTP/1.1\r\n\r\n",
	"empty host":                          "GET /v1/models HTTP/1.1\r\nHost:\r\n\r\n",
	"host with a space":                   "GET /v1/models HTTP/1.1\r\nHost: x y\r\n\r\n",
	"host with a list":                    "GET /v1/models HTTP/1.1\r\nHost: x, y\r\n\r\n",
	"host with a path":                    "GET /v1/models HTTP/1.1\r\nHost: x/y\r\n\r\n",
	"host with a user":                    "GET /v1/models HTTP/1.1\r\nHost: a@x\r\n\r\n",
	"no version":                          "GET /v1/models\r\nHost: x\r\n\r\n",
	"HTTP/0.9":                            "GET /v1/models\r\n\r\n",
	"version in lower case":               "GET /v1/models http/1.1\r\nHost: x\r\n\r\n",
	"version without a dot":               "GET /v1/models HTTP/11\r\nHost: x\r\n\r\n",
	"long version":                        "GET /v1/models HTTP/1.10\r\nHost: x\r\n\r\n",
	"another protocol":                    "GET /v1/models ICY/1.1\r\nHost: x\r\n\r\n",
	"two spaces before the target":        "GET  /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"two spaces before the version":       "GET /v1/models  HTTP/1.1\r\nHost: x\r\n\r\n",
	"space behind the version":            "GET /v1/models HTTP/1.1 \r\nHost: x\r\n\r\n",
	"space in the target":                 "GET /v1/models x HTTP/1.1\r\nHost: x\r\n\r\n",
	"control character in the target":     "GET /v1/models\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
	"space before the method":             " GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"no method":                           "/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"method with a control character":     "G\x01T /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"target without a slash":              "GET v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"chunk size is no number":             "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n{}\r\n0\r\n\r\n",
	"chunk size with a sign":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
	"chunk size with 0x":                  "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
	"chunk size that overflows":           "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
	"bare LF behind a chunk size":         "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
	"bare LF behind a chunk":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
	"chunk longer than its size":          "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
	"LF in a chunk extension":             "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\nb\r\n{}\r\n0\r\n\r\n",
	"chunked body that is cut off":        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
	"body that is cut off":                "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}",
	"content length hidden by a folding":  "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nA: b\r\n Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"second request where the body is":    "GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
	"binary":                              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	"HTTP/2 preface":                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"empty request line between newlines": "\r\n\r\n\r\n:\r\n\r\n",
}

func TestMalformedRequestsNeverReachTheEngine(t *testing.T) {
	if len(malformed) < 60 {
		t.Errorf("only %d requests are in the table", len(malformed))
	}
	h := start(t, ok)
	silent := 0
	for name, request := range malformed {
		t.Run(name, func(t *testing.T) {
			c := h.dial()
			c.send(request)
			c.Conn.(*net.TCPConn).CloseWrite()
			r, err := http.ReadResponse(c.in, nil)
			if err != nil { // the request never came to its end, or nothing of it was one
				silent++
				return
			}
			body, err := io.ReadAll(r.Body)
			if r.StatusCode < 400 || r.StatusCode >= 500 || err != nil || !r.Close {
				t.Errorf("answer %d %s, %v, close %v", r.StatusCode, body, err, r.Close)
			}
			if r.Header.Get("X-Request-ID") == "" || !strings.Contains(string(body), `{"error":{"message":"`) {
				t.Errorf("an error without our shape: %v %s", r.Header, body)
			}
			if _, err := c.in.ReadByte(); err == nil {
				t.Error("a second answer")
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	for _, k := range h.engine.requests() {
		t.Errorf("reached the engine: %q", k.raw)
	}
	if silent > 6 {
		t.Errorf("%d requests got no answer", silent)
	}
	h.eventually("all requests ended", func() bool { return h.meters.inFlight.Load() == 0 })
	text := h.ask(get("/metrics")).body
	if sumOf(text, "semantic_finish_total") != sumOf(text, "semantic_request_total") || sumOf(text, "semantic_request_total") < 70 {
		t.Errorf("%v requests, %v ends", sumOf(text, "semantic_request_total"), sumOf(text, "semantic_finish_total"))
	}
}

// What is unusual but right passes.
func TestUnusualRequestsAreServed(t *testing.T) {
	h := start(t, ok)
	for name, request := range map[string]string{
		"empty lines before the request": "\r\n\r\n" + get("/v1/models"),
		"absolute target":                strings.Replace(get("/v1/models"), "/v1", "http://example.org/v1", 1),
		"query":                          get("/v1/models?beta=true"),
		"chunked in pieces":              "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n1;ext=1\r\n}\r\n0\r\n\r\n",
		"names in odd case":              "POST /v1/completions HTTP/1.1\r\nhOST: x:8000\r\ncontent-TYPE: Application/JSON ; charset=utf-8\r\ncOnTent-length: 2\r\n\r\n{}",
		"no space behind the colon":      "POST /v1/completions HTTP/1.1\r\nHost:x\r\nContent-Type:application/json\r\nContent-Length:2\r\n\r\n{}",
		"space behind a value":           "POST /v1/completions HTTP/1.1\r\nHost: [::1]:80 \r\nContent-Type: application/json\t\r\nContent-Length: 2 \r\n\r\n{}",
		"UTF-8 in a value":               get("/v1/models", "X-Name: Jürgen"),
		"HTTP/1.0":                       "GET /v1/models HTTP/1.0\r\n\r\n",
		"empty value":                    get("/v1/models", "X-Empty:"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, pause := range []int{len(request), 1} { // at once, and byte by byte
				c := h.dial()
				for i := 0; i < len(request); i += pause {
					c.send(request[i:min(i+pause, len(request))])
				}
				if got := c.read(); got.status != 200 {
					t.Errorf("answer %+v", got)
				}
			}
		})
	}
	for _, k := range h.engine.requests() {
		if k.target != "/v1/models" && k.target != "/v1/completions" || k.method == "POST" && string(k.body) != "{}" {
			t.Errorf("the engine got %q %q", k.raw, k.body)
		}
	}
}

// A request that comes before the answer to the one before could have been
// smuggled in that one's body.
func TestPipeliningIsRefused(t *testing.T) {
	h := start(t, ok)
	c := h.dial()
	c.send(post(`{}`) + strings.Replace(get("/v1/models"), "\r\n", "\n", 1))
	if got := c.read(); got.status != 200 {
		t.Fatalf("first: %+v", got)
	}
	if got := c.read(); got.status != 400 || !strings.Contains(got.body, "pipelining") || !got.close {
		t.Fatalf("second: %+v", got)
	}
	if n := len(h.engine.requests()); n != 1 {
		t.Errorf("%d requests reached the engine", n)
	}
}

// The body of a refused request must not be taken for the next request.
func TestUnreadBodyIsNoNextRequest(t *testing.T) {
	h := start(t, ok)
	for _, inner := range []string{post(`{}`), strings.Repeat(post(`{}`), 5000)} {
		c := h.dial()
		go fmt.Fprintf(c, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s%s", len(inner), inner, get("/health/live"))
		if got := c.read(); got.status != 404 {
			t.Fatalf("answer %+v", got)
		}
		if _, err := http.ReadResponse(bufio.NewReader(c.in), nil); err != nil && strings.Contains(err.Error(), "malformed") {
			t.Error(err)
		}
	}
	if n := len(h.engine.requests()); n != 0 {
		t.Errorf("%d inner requests reached the engine", n)
	}
}
