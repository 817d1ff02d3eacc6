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

const (
	role     = `data: {"choices":[{"delta":{"role":"assistant","content":""}}]}` + "\n\n"
	hello    = `data: {"choices":[{"delta":{"content":"hello"}}]}` + "\n\n"
	world    = `data: {"choices":[{"delta":{"content":" world"}}]}` + "\n\n"
	done     = "data: [DONE]\n\n"
	goodEnd  = "Semantic-Finish: stop\r\nSemantic-Prompt-Tokens: 3\r\nSemantic-Cached-Tokens: 1\r\nSemantic-Completion-Tokens: 2\r\nSemantic-Queue-Time: 0.5"
	anStart  = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
	anDelta  = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n"
	anStop   = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	streamIt = `{"stream":true}`
)

func TestStreamIsPassedOnAndLogged(t *testing.T) {
	h := start(t, func(k *call) {
		k.startStream()
		k.chunk(role)
		k.chunk(hello)
		k.chunk(world)
		k.chunk(done)
		k.endStream(goodEnd)
	})
	c := h.dial()
	for range 2 { // the connections of both sides stay usable
		c.send(post(streamIt))
		got := c.read()
		if got.status != 200 || got.err != nil || got.body != role+hello+world+done {
			t.Fatalf("answer %+v", got)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Semantic-") || name == "Trailer" {
				t.Errorf("%s reached the client", name)
			}
		}
		if got.header.Get("Cache-Control") != "no-cache" || got.header.Get("X-Request-ID") == "" {
			t.Errorf("headers %v", got.header)
		}
	}
	line := h.waitLines(2)[1]
	for k, v := range map[string]any{"status": 200.0, "finish": "stop", "prompt_tokens": 3.0, "cached_tokens": 1.0, "completion_tokens": 2.0, "queue_ms": 0.5,
		"bytes_out": float64(len(role + hello + world + done))} {
		if line[k] != v {
			t.Errorf("log field %s is %v, not %v", k, line[k], v)
		}
	}
	if line["ttft_ms"].(float64) <= 0 || line["ttft_ms"].(float64) > line["duration_ms"].(float64) {
		t.Errorf("times %v", line)
	}
	if h.metric(`semantic_finish_total{class="stop"}`) != 2 || h.metric("semantic_time_to_first_token_seconds_count") != 2 {
		t.Error("the streams are not counted")
	}
	if n := len(h.engine.requests()); n != 2 || h.engine.requests()[0].conn != h.engine.requests()[1].conn {
		t.Error("the engine's connection was not kept")
	}
}

// Each chunk must be with the client before the engine makes the next one.
func TestEveryChunkIsFlushedTheMomentItComes(t *testing.T) {
	next := make(chan string)
	h := start(t, func(k *call) {
		k.startStream()
		for s := range next {
			k.chunk(s)
		}
		k.endStream(goodEnd)
	})
	c := h.dial()
	c.send(post(streamIt))
	r, err := http.ReadResponse(c.in, nil) // the headers come before the first event
	if err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	for i := range 20 {
		event := fmt.Sprintf("data: {\"n\":%d}\n\n", i)
		if i == 7 {
			event = ": still here\n" // a comment is passed on at once too
		}
		start := time.Now()
		next <- event
		got := make([]byte, len(event))
		if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != event {
			t.Fatalf("event %d: %q, %v", i, got, err)
		}
		worst = max(worst, time.Since(start))
	}
	next <- done
	close(next)
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != done {
		t.Fatalf("end %q, %v", rest, err)
	}
	if worst > 500*time.Millisecond {
		t.Errorf("a chunk took %s", worst)
	}
}

// The terminal event waits for the trailers, however the bytes are cut.
func TestTerminalEventIsHeldBackWhateverTheCuts(t *testing.T) {
	for name, c := range map[string]struct{ path, events, last string }{
		"OpenAI":    {"/v1/chat/completions", role + hello, done},
		"Anthropic": {"/v1/messages", anStart + anDelta, anStop},
	} {
		t.Run(name, func(t *testing.T) {
			whole := c.events + c.last
			trailers := make(chan struct{})
			cut := make(chan int, 1)
			h := start(t, func(k *call) {
				n := <-cut
				k.startStream()
				k.chunk(whole[:n])
				time.Sleep(time.Millisecond) // so that the pieces are read apart
				k.chunk(whole[n:])
				<-trailers
				k.endStream(goodEnd)
			})
			conn := h.dial()
			for n := len(c.events) - 3; n < len(whole); n++ {
				cut <- n
				conn.send(postTo(c.path, streamIt))
				r, err := http.ReadResponse(conn.in, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(c.events))
				if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != c.events {
					t.Fatalf("cut at %d: %q, %v", n, got, err)
				}
				conn.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
				if b, err := conn.in.ReadByte(); err == nil {
					t.Fatalf("cut at %d: %q came before the trailers", n, b)
				}
				conn.SetReadDeadline(time.Now().Add(patience))
				trailers <- struct{}{}
				if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != c.last {
					t.Fatalf("cut at %d: the end is %q, %v", n, rest, err)
				}
			}
		})
	}
}

// Whatever the engine does instead of ending well, the client gets an error event
// and no terminal one.
func TestStreamEndsWithTheTruth(t *testing.T) {
	const hang = "hang"
	for name, c := range map[string]struct {
		send   string // raw, after the head
		finish string
		want   string // events before the error event
	}{
		"dies in mid-stream":                  {chunked(role, hello), "engine_died", role + hello},
		"dies before the first event":         {"", "engine_died", ""},
		"dies inside an event":                {chunked(role, hello[:20]), "engine_died", role},
		"dies inside a chunk":                 {chunked(role) + "40\r\ndata: {\"cho", "engine_died", role},
		"dies after the terminal event":       {chunked(role, hello, done), "engine_died", role + hello},
		"ends without trailers":               {chunked(role, hello, done) + "0\r\n\r\n", "engine_died", role + hello},
		"ends with an unknown class":          {chunked(hello, done) + "0\r\nSemantic-Finish: great\r\n\r\n", "engine_died", hello},
		"dies inside the trailers":            {chunked(hello, done) + "0\r\nSemantic-Finish: stop\r\n", "engine_died", hello},
		"says stop and had no terminal event": {chunked(hello) + "0\r\nSemantic-Finish: stop\r\n\r\n", "engine_died", hello},
		"garbage between chunks":              {chunked(hello) + "zzz\r\n", "engine_died", hello},
		"terminal event and a bad class":      {chunked(hello, done) + "0\r\nSemantic-Finish: error\r\n\r\n", "error", hello},
		"deadline of the engine's":            {chunked(hello) + "0\r\nSemantic-Finish: deadline\r\n\r\n", "deadline", hello},
		"never goes on":                       {chunked(hello) + hang, "deadline", hello},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, func(k *call) {
				k.startStream()
				k.write(strings.TrimSuffix(c.send, hang))
				if strings.HasSuffix(c.send, hang) {
					k.waitClosed()
				}
				k.die()
			}, func(c *Config) { c.RequestTimeout = 150 * time.Millisecond })
			got := h.ask(post(streamIt))
			if got.status != 200 || got.err != nil {
				t.Fatalf("answer %+v", got)
			}
			event, ok := strings.CutPrefix(got.body, c.want)
			if !ok || !strings.HasPrefix(event, `data: {"error":{"message":`) || !strings.HasSuffix(event, "}}\n\n") || strings.Count(event, "\n\n") != 1 {
				t.Errorf("stream %q", got.body)
			}
			if strings.Contains(got.body, "[DONE]") {
				t.Errorf("a terminal event after all: %q", got.body)
			}
			if line := h.waitLines(1)[0]; line["finish"] != c.finish {
				t.Errorf("log: %v", line)
			}
		})
	}
}

func TestAnthropicStreamEndsWithAnErrorEventOfItsDialect(t *testing.T) {
	h := start(t, func(k *call) { k.startStream(); k.chunk(anStart); k.die() })
	got := h.ask(postTo("/v1/messages", streamIt))
	if !strings.HasPrefix(got.body, anStart+"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"") {
		t.Errorf("stream %q", got.body)
	}
}

func TestTheEnginesOwnErrorEventIsNotDoubled(t *testing.T) {
	const event = `data: {"error":{"message":"too slow","type":"server_error","code":"deadline_exceeded","param":null}}` + "\n\n"
	h := start(t, func(k *call) {
		k.startStream()
		k.chunk(hello)
		k.chunk(event)
		k.endStream("Semantic-Finish: deadline", "Semantic-Completion-Tokens: 9")
	})
	if got := h.ask(post(streamIt)); got.body != hello+event || got.err != nil {
		t.Errorf("stream %q", got.body)
	}
	if line := h.waitLines(1)[0]; line["finish"] != "deadline" || line["completion_tokens"] != 9.0 {
		t.Errorf("log: %v", line)
	}
}

// An event too long to be held goes out in pieces, and an error event can still
// follow it.
func TestHugeEventIsStreamedAndBounded(t *testing.T) {
	huge := "data: " + strings.Repeat("x", 3*maxHeldEvent)
	for _, whole := range []bool{true, false} {
		h := start(t, func(k *call) {
			k.startStream()
			for rest := huge; len(rest) > 0; {
				n := min(len(rest), 50_000)
				k.chunk(rest[:n])
				rest = rest[n:]
			}
			if whole {
				k.chunk("\n\n" + done)
				k.endStream(goodEnd)
			}
			k.die()
		})
		got := h.ask(post(streamIt))
		if whole && got.body != huge+"\n\n"+done {
			t.Errorf("whole: %d bytes, end %q", len(got.body), got.body[len(got.body)-30:])
		}
		if i := strings.Index(got.body, "\n\n"+`data: {"error"`); !whole && (i < maxHeldEvent || strings.Contains(got.body, "[DONE]")) {
			t.Errorf("torn: error event at %d of %d bytes", i, len(got.body))
		}
	}
}

func TestStreamNeedsHTTP11(t *testing.T) {
	closed := make(chan struct{})
	h := start(t, func(k *call) { k.startStream(); k.chunk(hello); k.waitClosed(); close(closed) })
	c := h.dial()
	c.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	if got := c.read(); got.status != 505 || !strings.Contains(got.body, "HTTP/1.1") {
		t.Errorf("answer %+v", got)
	}
	<-closed
	if line := h.waitLines(1)[0]; line["finish"] != "rejected" {
		t.Errorf("log: %v", line)
	}
}

// A client that leaves is noticed though nothing is written to it.
func TestClientLeavingFreesTheEngineAtOnce(t *testing.T) {
	type moment struct {
		name  string
		begin func(k *call)
		read  bool // the client has seen the headers
	}
	for _, m := range []moment{
		{"while it waits for the first byte", func(*call) {}, false},
		{"in mid-stream", func(k *call) { k.startStream(); k.chunk(hello) }, true},
		{"in mid-answer", func(k *call) { k.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{") }, false},
	} {
		for how, leave := range map[string]func(*net.TCPConn){
			"closes":      func(c *net.TCPConn) { c.Close() },
			"resets":      func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
			"half-closes": func(c *net.TCPConn) { c.CloseWrite() },
		} {
			t.Run(m.name+", "+how, func(t *testing.T) {
				begun, freed := make(chan struct{}), make(chan time.Time, 1)
				h := start(t, func(k *call) { m.begin(k); close(begun); k.waitClosed(); freed <- time.Now() })
				c := h.dial()
				c.send(post(streamIt))
				<-begun
				if m.read {
					if _, err := http.ReadResponse(c.in, nil); err != nil {
						t.Fatal(err)
					}
				}
				left := time.Now()
				leave(c.Conn.(*net.TCPConn))
				took := (<-freed).Sub(left)
				t.Logf("the engine was freed %s after the client had left; 100 ms is what is aimed at", took)
				if took > patience {
					t.Errorf("the engine was freed %s after the client had left", took)
				}
				line := h.waitLines(1)[0]
				if line["finish"] != "client_gone" || line["status"] != 499.0 {
					t.Errorf("log: %v", line)
				}
				if h.metric(`semantic_request_total{method="POST",path="/v1/chat/completions",status_code="499"}`) != 1 {
					t.Error("the request is not counted as 499")
				}
				if n := h.slots.taken.Load(); n != 0 {
					t.Errorf("%d slots are still taken", n)
				}
			})
		}
	}
}

func TestClientGoneBeforeTheRequestReachesTheEngineCostsItNothing(t *testing.T) {
	h := start(t, ok)
	for range 20 {
		c := h.dial()
		c.send(strings.Replace(post(streamIt), "Content-Length: 15", "Content-Length: 16", 1)) // one byte is missing
		c.Close()
	}
	for _, line := range h.waitLines(20) {
		if line["finish"] != "client_gone" {
			t.Errorf("log: %v", line)
		}
	}
	if n := len(h.engine.requests()); n != 0 {
		t.Errorf("%d halves of requests reached the engine", n)
	}
}

// A client that does not read is given --write-timeout, and holds up nobody.
func TestSlowReaderIsCutOff(t *testing.T) {
	freed := make(chan struct{})
	h := start(t, func(k *call) {
		k.startStream()
		event := "data: " + strings.Repeat("y", 8000) + "\n\n"
		for {
			k.conn.SetWriteDeadline(time.Now().Add(patience))
			if _, err := fmt.Fprintf(k.conn, "%x\r\n%s\r\n", len(event), event); err != nil {
				close(freed)
				return
			}
		}
	}, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	c := h.dial()
	c.Conn.(*net.TCPConn).SetReadBuffer(4096)
	c.send(post(streamIt))
	select {
	case <-freed:
	case <-time.After(patience):
		t.Fatal("the stream was not ended")
	}
	if line := h.waitLines(1)[0]; line["finish"] != "client_gone" {
		t.Errorf("log: %v", line)
	}
}

// A stream that lasts longer than --write-timeout is not cut off by it.
func TestLongStreamOutlivesTheWriteTimeout(t *testing.T) {
	h := start(t, func(k *call) {
		k.startStream()
		for range 12 {
			k.chunk(hello)
			time.Sleep(50 * time.Millisecond)
		}
		k.chunk(done)
		k.endStream(goodEnd)
	}, func(c *Config) {
		c.WriteTimeout, c.ReadHeaderTimeout, c.ReadTimeout = 150*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	if got := h.ask(post(streamIt)); got.body != strings.Repeat(hello, 12)+done {
		t.Errorf("stream %q, %v", got.body, got.err)
	}
}

func TestExpectContinueIsHonoured(t *testing.T) {
	h := start(t, ok)
	c := h.dial()
	c.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n")
	line, err := bufio.NewReader(io.LimitReader(c.in, int64(len("HTTP/1.1 100 Continue\r\n\r\n")))).ReadString('\n')
	if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	c.send("12345")
	if got := c.read(); got.status != 200 || string(h.engine.requests()[0].body) != "12345" {
		t.Errorf("answer %+v", got)
	}
}

// Whatever the cuts, the same bytes come out, and only whole events.
func TestEventsAreTheSameForAllCuts(t *testing.T) {
	in := ": hi\n\n" + role + "\r\n" + ": keep\n" + "id: 1\n" + hello + "event: x\r\ndata: 1\r\n\r\n" + done
	want := strings.TrimSuffix(in, done)
	for size := 1; size <= len(in); size++ {
		var e events
		var out strings.Builder
		for rest := in; len(rest) > 0; {
			n := min(size, len(rest))
			e.add([]byte(rest[:n]))
			rest = rest[n:]
			out.Write(e.pending())
			if s := out.String() + string(e.pending()); len(s) > 0 && !strings.HasSuffix(s, "\n") {
				t.Fatalf("pieces of %d: half a line went out: %q", size, s)
			}
			e.passed()
		}
		if out.String() != want || !e.terminal || string(e.last()) != done || !e.content {
			t.Fatalf("pieces of %d: %q, last %q, %+v", size, out.String(), e.last(), e)
		}
	}
}

func TestContentIsToldFromTheOpeningChunk(t *testing.T) {
	for chunk, want := range map[string]bool{
		`{"choices":[{"delta":{"role":"assistant","content":""}}]}`:   false,
		`{"choices":[{"delta":{"role":"assistant","content":null}}]}`: false,
		`{"choices":[{"delta":{},"finish_reason":"stop"}]}`:           false,
		`{"choices":[],"usage":{"prompt_tokens":1}}`:                  false,
		`{"choices":[{"delta":{"content":"a"}}]}`:                     true,
		`{"choices":[{"delta":{"content": "a"}}]}`:                    true,
		`{"choices":[{"text":"a"}]}`:                                  true,
		`{"choices":[{"text":""}]}`:                                   false,
		`{"choices":[{"delta":{"content":null,"tool_calls":[{}]}}]}`:  true,
	} {
		if got := hasContent([]byte(chunk)); got != want {
			t.Errorf("%s: %v", chunk, got)
		}
	}
}

func chunked(events ...string) string {
	s := ""
	for _, e := range events {
		s += fmt.Sprintf("%x\r\n%s\r\n", len(e), e)
	}
	return s
}
