package proxy

import (
	"net/http"
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
	clock := func() time.Time { return now }
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
		if got := s.due(clock); got != step.want {
			t.Errorf("after %v more another alarm rings than %p: %p", step.after, step.want, got)
		}
	}
	s.put(a, now)
	s.drop(a)
	if s.due(clock) != nil || !s.next().IsZero() {
		t.Error("a dropped alarm is there")
	}
}
