package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What the loop's parser makes of bytes that came. What it does not take is for a
// goroutine, and so for fasthttp, to judge.
func TestTheLoopTakesUsualRequestsAlone(t *testing.T) {
	h := start(t, ok)
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	for _, test := range []struct {
		name, sent string
		want       parsed
	}{
		{"a request", head + "Content-Length: 2\r\n\r\n{}", readable},
		{"a request whose body is to come", head + "Content-Length: 2\r\n\r\n", readable},
		{"one without a body", "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", readable},
		{"an unknown path", "GET /nowhere?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", readable},
		{"a part of a header", head[:20], partial},
		{"a header without its end", head, partial},
		{"half of the end", head + "\r", partial},
		{"two at once", head + "Content-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n", unusual},
		{"a chunked body", head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", unusual},
		{"both lengths", head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", unusual},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", unusual},
		{"a length that is none", head + "Content-Length: +2\r\n\r\n{}", unusual},
		{"a length beyond the loop's", head + "Content-Length: 70000\r\n\r\n", unusual},
		{"an expectation", head + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", unusual},
		{"trailers wanted", head + "TE: trailers\r\nContent-Length: 2\r\n\r\n{}", unusual},
		{"a body of GET", "GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", unusual},
		{"HTTP/1.0", "GET /v1/models HTTP/1.0\r\nHost: x\r\n\r\n", unusual},
		{"no host", "GET /v1/models HTTP/1.1\r\nAccept: */*\r\n\r\n", unusual},
		{"two hosts", "GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", unusual},
		{"a method in small letters", "get /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"two blanks in the request line", "GET  /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"a blank in the target", "GET /v1/mod els HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"a blank before a colon", "GET /v1/models HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", unusual},
		{"a control character in a value", "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 12345678\x019\r\n\r\n", unusual},
		{"a DEL in a value", "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1234\x7f678\r\n\r\n", unusual},
		{"a tab and letters beyond ASCII in a value", "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: 1234\t678 \xc3\xa4\r\n\r\n", readable},
		{"a connection that is kept", head + "Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", readable},
		{"one that is not", head + "Connection: Close\r\nContent-Length: 2\r\n\r\n{}", readable},
		{"a word of a connection's that we do not know", head + "Connection: close, x\r\nContent-Length: 2\r\n\r\n{}", unusual},
		{"two words on a connection", head + "Connection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", unusual},
		{"a length with too many digits", head + "Content-Length: 0000000000000000002\r\n\r\n{}", unusual},
		{"a folded line", "GET /v1/models HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", unusual},
		{"a bare LF", "GET /v1/models HTTP/1.1\nHost: x\r\n\r\n", unusual},
		{"a bare LF further down", "GET /v1/models HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", unusual},
		{"an absolute target", "GET http://x/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"a target that could be a host", "GET //v1/models HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", unusual},
		{"a line feed first", "\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", unusual},
		{"a header that never ends", "GET /" + strings.Repeat("a", maxHeader), unusual},
		{"metrics", get("/metrics"), unusual},
	} {
		got := parseAt(h, test.sent)
		if got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// parseAt has a loop's parser look at bytes, in the loop, and forgets what it made.
func parseAt(h *harness, sent string) parsed {
	verdict := make(chan parsed, 1)
	l := h.lanes[0]
	l.post(func() {
		x, v := l.parser.parse(&guest{loop: l, conn: &conn{p: h.Proxy, since: time.Now()}}, []byte(sent))
		if x != nil {
			l.parser.forget(x)
		}
		verdict <- v
	})
	return <-verdict
}

// FuzzLoopParser holds what the loop takes against another reader of HTTP: of the same
// bytes that makes the same request, unless it takes none. (It looks into the escapes of
// a target and at a method's letters, which here the routes do.)
func FuzzLoopParser(f *testing.F) {
	h := start(f, ok)
	for _, s := range []string{post(`{"model":"m"}`), get("/v1/models"), get("/v1/agents/a%2Fb?x"),
		"POST /v1/messages HTTP/1.1\r\nHost: a:8000\r\nX-Agent-ID: b\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\n"} {
		f.Add([]byte(s))
	}
	l := h.lanes[0]
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) == 0 || len(sent) > loopRead {
			return
		}
		done := make(chan string, 1)
		l.post(func() {
			fault := ""
			defer func() { done <- fault }()
			x, verdict := l.parser.parse(&guest{loop: l, conn: &conn{p: h.Proxy, since: time.Now()}}, sent)
			if verdict != readable {
				return
			}
			fault = differs(x, sent)
			l.parser.forget(x)
		})
		if fault := <-done; fault != "" {
			t.Error(fault)
		}
	})
}

// differs says in what net/http reads a request otherwise.
func differs(x *exchange, sent []byte) string {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
	if asked := new(url.Error); errors.As(err, &asked) {
		return "" // a path that is none is refused by name, later
	}
	if err != nil {
		return fmt.Sprintf("%q is taken by the loop, and refused by net/http: %v", sent, err)
	}
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.Method != string(x.ctx.Method()), r.RequestURI != string(x.target), r.Host != string(x.head.host), r.Close != x.goodbye:
		return fmt.Sprintf("%q is %s %s of %s to the loop", sent, x.ctx.Method(), x.target, x.head.host)
	case r.ContentLength != int64(x.length), !bytes.Equal(body, x.held):
		return fmt.Sprintf("%q has a body of %d bytes to the loop, %d to net/http", sent, x.length, r.ContentLength)
	}
	return ""
}

// Whatever is put, put off, brought forward and dropped: what rings is due, once, and
// nothing that is due is missing.
func TestAlarmsAgreeWithAList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	var s alarms
	all := make([]*alarm, 40)
	wanted := map[*alarm]time.Time{}
	for i := range all {
		all[i] = &alarm{}
	}
	for range 20_000 {
		a := all[random.IntN(len(all))]
		switch random.IntN(5) {
		case 0:
			s.drop(a)
			delete(wanted, a)
		case 1:
			s.put(a, time.Time{})
			delete(wanted, a)
		default:
			wanted[a] = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
			s.put(a, wanted[a])
		}
		if random.IntN(4) == 0 {
			now = now.Add(time.Duration(random.IntN(200)) * time.Millisecond)
		}
		if next := s.next(); next.IsZero() != (len(s.heap) == 0) {
			t.Fatal("next is never although there are alarms")
		}
		for a := s.due(now); a != nil; a = s.due(now) {
			at, ok := wanted[a]
			if !ok || at.After(now) {
				t.Fatalf("an alarm rings at %v that was wanted at %v (%v)", now, at, ok)
			}
			delete(wanted, a)
		}
		for a, at := range wanted {
			if !at.After(now) {
				t.Fatalf("an alarm of %v has not rung at %v", at, now)
			}
			if s.next().After(at) {
				t.Fatalf("the loop would look again at %v, too late for %v", s.next(), a.wanted)
			}
		}
	}
	for i := range s.heap {
		if s.heap[i].place != i+1 || i > 0 && s.heap.Less(i, (i-1)/2) {
			t.Fatal("the heap is none")
		}
	}
}
