package main

import (
	"fmt"
	"time"

	"github.com/semantic-pod/semantic/api"
	"golang.org/x/sys/unix"
)

const streamHeadText = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n" +
	"Trailer: " + api.HeaderFinish + ", " + api.HeaderPromptTokens + ", " + api.HeaderCompletionTokens + "\r\n\r\n"

var (
	streamHead = []byte(streamHeadText)
	streamEnd  = []byte("e\r\ndata: [DONE]\n\n\r\n0\r\n" + api.HeaderFinish + ": stop\r\n" + api.HeaderPromptTokens + ": 12\r\n" +
		api.HeaderCompletionTokens + ": 5\r\n\r\n")
)

// streams are those that the backend is sending. All have the same interval, and
// each its own place in it, in which its first chunk fell: so chunks come evenly.
type streams struct {
	interval time.Duration
	queue    []due // a ring, in the order of time
	event    []byte
}

type due struct {
	c  *backendConn
	at time.Time
}

func (s *streams) begin(c *backendConn, interval time.Duration) {
	s.interval = interval
	s.queue = append(s.queue, due{c, time.Now().Add(interval)})
}

func (s *streams) untilNext(now time.Time) time.Duration {
	if len(s.queue) == 0 {
		return -1
	}
	return max(0, s.queue[0].at.Sub(now))
}

// emit sends what is due.
func (s *streams) emit(now time.Time, drop func(*backendConn)) {
	for len(s.queue) > 0 && !s.queue[0].at.After(now) {
		d := s.queue[0]
		s.queue = s.queue[1:]
		if d.c.gone {
			continue
		}
		out := streamEnd
		if d.c.left--; d.c.left >= 0 {
			out = s.chunk()
			s.queue = append(s.queue, due{d.c, d.at.Add(s.interval)})
		}
		if n, err := unix.Write(d.c.fd, out); err != nil || n < len(out) {
			drop(d.c)
		}
	}
}

// chunk is one event as vLLM sends them, with the time at which it left.
func (s *streams) chunk() []byte {
	const event = `data: {"id":"cmpl-5f2a9c","object":"text_completion","created":1700000000,"model":"bench","t":%019d,"choices":[{"index":0,"text":" word","finish_reason":null}]}` + "\n\n"
	s.event = fmt.Appendf(s.event[:0], "%x\r\n"+event+"\r\n", len(event)-len("%019d")+19, monotonic())
	return s.event
}
