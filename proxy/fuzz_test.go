package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// sentHeaders are all that the proxy writes on a request to the engine.
var sentHeaders = map[string]bool{
	"Host": true, "Content-Type": true, "Content-Length": true, "X-Request-Id": true, "Traceparent": true, "Tracestate": true,
	"Semantic-Tenant": true, "Semantic-Agent": true, "Semantic-Deadline": true, "Anthropic-Version": true, "Anthropic-Beta": true,
}

// FuzzRequest sends anything at all as a request. What comes of it is an answer of
// ours or silence; the engine gets at most one request, of the proxy's own making,
// and with the body that another reader of HTTP finds in it too.
func FuzzRequest(f *testing.F) {
	for _, request := range malformed {
		f.Add([]byte(request))
	}
	f.Add([]byte(post(`{"model":"m"}`)))
	f.Add([]byte(get("/v1/agents/a%20b", "X-Agent-ID: me", "Anthropic-Beta: x")))
	f.Add([]byte("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n"))
	h := start(f, ok)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4<<10 {
			return // it could come in several reads, and hold several requests
		}
		ended := ends(h)
		answered := h.exchangeRaw(t, raw)
		h.waitQuiet(t)
		calls := h.engine.takeCalls()
		if got := ends(h) - ended; got < answered || got > answered+1 {
			t.Fatalf("%d answers, %d requests ended, of %q", answered, got, raw)
		}
		if len(calls) > 1 {
			t.Fatalf("%d requests reached the engine of %q", len(calls), raw)
		}
		for _, k := range calls {
			checkCall(t, k, raw)
		}
	})
}

// exchangeRaw sends raw on a connection of its own and reads the answers to their
// end.
func (h *harness) exchangeRaw(t *testing.T, raw []byte) (answers int) {
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(raw) // it may be answered and closed before its end
	in := bufio.NewReader(c)
	// Who says at once that nothing more comes is taken for one who has left.
	_ = c.SetDeadline(time.Now().Add(5 * time.Millisecond))
	_, _ = in.Peek(1)
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(patience))
	for {
		if _, err := in.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("neither answer nor end of the connection to %q", raw)
			}
			return answers
		}
		// A HEAD's answer has no body; whether it was one is seen by what follows.
		r, err := http.ReadResponse(in, &http.Request{Method: methodOf(raw)})
		if err != nil {
			t.Fatalf("what came is no answer: %v, to %q", err, raw)
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode == http.StatusContinue {
			continue
		}
		isError := r.StatusCode >= 400 && methodOf(raw) != "HEAD"
		if err != nil || r.Header.Get("X-Request-ID") == "" || isError && !r.ProtoAtLeast(2, 0) && !bytes.Contains(body, []byte(`"error"`)) && !bytes.Contains(body, []byte(`"status"`)) {
			t.Fatalf("answer %d %v %q, %v, to %q", r.StatusCode, r.Header, body, err, raw)
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Semantic-") {
				t.Fatalf("%s reached the client", name)
			}
		}
		answers++
	}
}

func methodOf(raw []byte) string {
	raw = bytes.TrimLeft(raw, "\r\n")
	if bytes.HasPrefix(raw, []byte("HEAD ")) {
		return "HEAD"
	}
	return "GET"
}

// checkCall holds what the engine got against another reader of HTTP.
func checkCall(t *testing.T, k *call, raw []byte) {
	for name, values := range k.header {
		if !sentHeaders[name] || len(values) > 1 {
			t.Fatalf("the engine got %s %q of %q", name, values, raw)
		}
	}
	if k.header.Get(api.HeaderTenant) != defaultTenant || strings.ContainsAny(k.target, " ?#") || routeOf([]byte(k.target)) == nil {
		t.Fatalf("the engine got %q of %q", k.raw, raw)
	}
	other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return // it is stricter in some things, such as escapes in a path
	}
	if other.Method != k.method {
		t.Fatalf("the engine got a %s of %q", k.method, raw)
	}
	if body, err := io.ReadAll(other.Body); err == nil && k.method == "POST" && !bytes.Equal(body, k.body) {
		t.Fatalf("the engine got the body %q of %q, in which another reader finds %q", k.body, raw, body)
	}
}

// ends counts the requests that have ended.
func ends(h *harness) int {
	n := uint64(0)
	for _, c := range h.meters.finishes {
		n += c.Get()
	}
	return int(n)
}

// waitQuiet waits until no request is under way, no connection is open, and the engine
// has seen the end of what was cancelled.
func (h *harness) waitQuiet(t *testing.T) {
	for end := time.Now().Add(patience); !h.isQuiet(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections and %d requests are left", h.conns.count(), h.meters.inFlight.Load())
		}
	}
}

func (h *harness) isQuiet() bool {
	if h.conns.count() > 0 || h.meters.inFlight.Load() > 0 {
		return false
	}
	h.pool.mu.Lock()
	idle := len(h.pool.idle)
	h.pool.mu.Unlock()
	for _, l := range h.lanes {
		l.post(func() { idle += len(l.idle) })
	}
	h.joinLoops()
	h.engine.mu.Lock()
	defer h.engine.mu.Unlock()
	return len(h.engine.conns) <= idle+1 // and the poll's; an idle one may have been closed
}

// takeCalls returns the calls so far and forgets them.
func (e *standin) takeCalls() []*call {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

// FuzzTrailers lets the engine end a stream in any way at all: with any bytes behind
// an event, chunks, trailers and what is none. The request ends in one class, and
// the client gets the terminal event only of a stream that said that it was good.
func FuzzTrailers(f *testing.F) {
	const done = "e\r\ndata: [DONE]\n\n\r\n"
	for _, s := range []string{
		done + "0\r\nSemantic-Finish: stop\r\n\r\n",
		done + "0\r\nSemantic-Finish: stop\r\nSemantic-Completion-Tokens: 5\r\nSemantic-TTFT: 1.5\r\n\r\n",
		done + "0\r\nSemantic-Finish: engine_died\r\n\r\n",
		done + "0\r\nsemantic-finish:length\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n",
		done + "0\r\nSemantic-Finish: nonsense\r\nSemantic-Prompt-Tokens: -1\r\nSemantic-TTFT: NaN\r\n\r\n",
		done + "0\r\n\r\n", done, done + "0\r\nSemantic-Finish: stop\r\n", "0\r\n no name\r\n\r\n", "zz\r\n", "ffffffff\r\n", "",
		"11\r\ndata: {\"error\":1}\n\r\n1\r\n\n\r\n" + done + "0\r\nSemantic-Finish: error\r\n\r\n",
		done + "0\nSemantic-Finish: stop\n\n",
	} {
		f.Add([]byte(s))
	}
	var tail []byte // one input at a time
	h := start(f, func(k *call) {
		k.startStream()
		k.chunk("data: {\"a\":1}\n\n")
		k.write(string(tail))
		k.die()
	})
	f.Fuzz(func(t *testing.T, end []byte) {
		tail = end
		before := map[api.Finish]uint64{}
		for class, c := range h.meters.finishes {
			before[class] = c.Get()
		}
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, post("{}", "Connection: close"))
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		text, err := io.ReadAll(r.Body)
		c.Close()
		h.waitQuiet(t)
		checkEnd(t, h, before, string(text), err, len(r.Trailer))
	})
}

// checkEnd holds what the client got of a stream against the class that it ended in.
func checkEnd(t *testing.T, h *harness, before map[api.Finish]uint64, text string, err error, trailers int) {
	class, n := api.Finish(""), uint64(0)
	for f, c := range h.meters.finishes {
		if more := c.Get() - before[f]; more > 0 {
			class, n = f, n+more
		}
	}
	h.engine.takeCalls()
	done := strings.HasSuffix(text, "data: [DONE]\n\n")
	switch {
	case n != 1:
		t.Fatalf("the request ended %d times", n)
	case err != nil || trailers > 0:
		t.Fatalf("the client's stream is broken (%v) or has %d trailers: %q", err, trailers, text)
	case done != isGood(class):
		t.Fatalf("the stream ended in %s with %q", class, text)
	case !done && !strings.Contains(text, `{"error"`):
		t.Fatalf("the stream ended in %s without an error event: %q", class, text)
	}
}
