package proxy

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// servedByLoop reports whether a loop serves the one connection that is open.
func (h *harness) servedByLoop() bool {
	inLoop := false
	h.conns.each(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		inLoop = c.lane != nil
	})
	return inLoop
}

func TestRequestsThatComeInPiecesStayInTheLoop(t *testing.T) {
	h := start(t, ok)
	c := h.dial()
	for range 2 {
		request := post(`{"model":"m"}`)
		for _, cut := range []string{request[:10], request[10:40], request[40 : len(request)-5], request[len(request)-5:]} {
			c.send(cut)
			time.Sleep(5 * time.Millisecond)
		}
		if r := c.read(); r.status != http.StatusOK {
			t.Fatalf("%+v", r)
		}
	}
	if !h.servedByLoop() {
		t.Error("the connection was handed over")
	}
	if got := string(h.engine.requests()[1].body); got != `{"model":"m"}` {
		t.Errorf("the engine got %q", got)
	}
}

func TestUnusualRequestsAreHandedOver(t *testing.T) {
	h := start(t, ok)
	for name, request := range map[string]string{
		"chunked body": "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"address":      "GET /v1/models HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
		"metrics":      get("/metrics"),
	} {
		c := h.dial()
		c.send(get("/health/live")) // in the loop first
		if r := c.read(); r.status != http.StatusOK || !h.servedByLoop() {
			t.Errorf("%s: before it %+v", name, r)
		}
		c.send(request)
		if r := c.read(); r.status != http.StatusOK || h.servedByLoop() {
			t.Errorf("%s: %+v, served by the loop: %v", name, r, h.servedByLoop())
		}
		c.send(post(`{}`)) // and on with what is usual
		if r := c.read(); r.status != http.StatusOK {
			t.Errorf("%s: after it %+v", name, r)
		}
		c.Close()
		h.eventually("the connection to be closed", func() bool { return h.conns.count() == 0 })
	}
}

func TestAlarmsRingInTheOrderOfWhatWasSaidLast(t *testing.T) {
	var s alarms
	now := time.Now()
	a, b, c := &alarm{}, &alarm{}, &alarm{}
	s.put(a, now.Add(time.Second))
	s.put(b, now.Add(2*time.Second))
	s.put(c, now.Add(3*time.Second))
	s.put(a, now.Add(5*time.Second)) // put off
	s.put(c, now.Add(time.Second))   // brought forward
	s.put(b, time.Time{})            // never
	for _, step := range []struct {
		after time.Duration
		want  *alarm
	}{{time.Second, c}, {time.Second, nil}, {2 * time.Second, nil}, {time.Second, a}, {time.Hour, nil}} {
		now = now.Add(step.after)
		if got := s.due(now); got != step.want {
			t.Errorf("after %v more another alarm rings than %p: %p", step.after, step.want, got)
		}
	}
	s.put(a, now)
	s.drop(a)
	if s.due(now) != nil || !s.next().IsZero() {
		t.Error("a dropped alarm is there")
	}
}

// An answer of the engine's is written as it came where nothing is added to it, and by
// fasthttp elsewhere. A client cannot tell which, nor that it was no loop that served it.
func TestAnswersAreTheSameHoweverTheyAreWritten(t *testing.T) {
	engine := func(k *call) {
		k.reply(200, "application/json", `{"a":1}`, "X-Model: one", "Set-Cookie: a=b", "set-cookie: c=d", "Date: never", "Semantic-Finish: stop", "Semantic-Secret: x")
	}
	seen := map[string]map[string][]string{}
	for name, change := range map[string]func(*Config){
		"as it came": func(*Config) {}, "by fasthttp": func(c *Config) { c.CORSOrigins = "https://x.example" }, "by a goroutine": func(*Config) {},
	} {
		h := start(t, engine, change)
		c := h.dial()
		request := post(`{}`)
		if name == "by a goroutine" {
			c.send("GET /v1/models HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n")
			c.read()
			if h.servedByLoop() {
				t.Fatal("the connection was not handed over")
			}
		}
		c.send(request)
		r := c.read()
		if r.status != 200 || r.body != `{"a":1}` {
			t.Fatalf("%s: %+v", name, r)
		}
		if at, err := http.ParseTime(r.header.Get("Date")); err != nil || time.Since(at).Abs() > time.Minute || len(r.header["Date"]) != 1 {
			t.Errorf("%s: Date %q", name, r.header["Date"])
		}
		for _, varies := range []string{"Date", "Vary", "X-Request-Id", "X-Response-Time", "Server-Timing"} {
			r.header.Del(varies)
		}
		seen[name] = r.header
	}
	for name, header := range seen {
		if want := seen["by a goroutine"]; !reflect.DeepEqual(header, want) || len(header["Set-Cookie"]) != 2 || len(header["Content-Length"]) != 1 {
			t.Errorf("%s: %v, want %v", name, header, want)
		}
	}
}

func TestAnAnswerSaysThatItIsTheLastOne(t *testing.T) {
	h := start(t, ok)
	for _, request := range []string{post(`{}`, "Connection: close"), get("/health/live", "Connection: close")} {
		c := h.dial()
		c.send(request)
		if r := c.read(); r.status != 200 || !r.close {
			t.Errorf("%+v", r)
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("the connection goes on: %d, %v", n, err)
		}
	}
}

// What is found by eights is what is found one by one.
func TestPrintableAgreesWithALoopOverBytes(t *testing.T) {
	for c := range 256 {
		for at := range 24 {
			value := []byte("abcdefgh~~ ~~~~~ijklmnop")
			value[at] = byte(c)
			want := c >= ' ' && c != 0x7f || c == '\t'
			if got := printable(value); got != want {
				t.Fatalf("%#x at %d: %v", c, at, got)
			}
		}
	}
}
