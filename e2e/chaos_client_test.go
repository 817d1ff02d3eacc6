package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// sight is what a client saw of its request.
type sight struct {
	id     string // that of the answer: what is no HTTP has none of its own
	what   string // it did
	status int    // 0: it left before, or nothing came
	done   bool   // the terminal event came
	broken bool   // the answer was cut off
	fault  string // the code of an error event
	left   bool   // it did not wait for the end
}

// fits reports whether a request that its client saw so can have ended in f.
func (s sight) fits(f api.Finish) bool {
	good := []api.Finish{api.FinishStop, api.FinishLength, api.FinishOK}
	switch {
	case s.left:
		return true // the end and the leaving may have crossed
	case s.status == http.StatusOK && s.fault != "":
		return f == api.FinishEngineDied || f == api.FinishDeadline || f == api.FinishError
	case s.status == http.StatusOK:
		return s.done && slices.Contains(good, f)
	case s.status == http.StatusServiceUnavailable:
		return f == api.FinishShed
	case s.status == http.StatusBadGateway:
		return f == api.FinishEngineDied
	case s.status == http.StatusGatewayTimeout:
		return f == api.FinishDeadline
	case s.status >= 400 && s.status < 500:
		return f == api.FinishRejected
	}
	return false
}

// chaosClient sends one request after the other, in the ways that clients have.
type chaosClient struct {
	p    *pod
	n    int
	rand *rand.Rand

	conn   net.Conn
	in     *bufio.Reader
	saw    map[string]sight // by request id
	faults []string         // what must not be
}

func (c *chaosClient) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *chaosClient) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.Dial("tcp", address(c.p.port))
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return conn.SetDeadline(time.Now().Add(patience))
}

// act sends one request.
func (c *chaosClient) act() {
	if err := c.connect(); err != nil {
		c.faults = append(c.faults, fmt.Sprintf("cannot connect: %v", err))
		time.Sleep(100 * time.Millisecond)
		return
	}
	id := fmt.Sprintf("chaos-%d-%d", c.n, len(c.saw))
	ways := []func(id string) sight{
		c.whole, c.whole, c.streamed, c.streamed, c.leavesMidway, c.leavesEarly, c.stallsInBody, c.leavesInBody, c.slowBody, c.nonsense,
	}
	i := c.rand.IntN(len(ways))
	s := ways[i](id)
	if s.id == "" {
		s.id = id
	}
	c.saw[s.id] = s
	if s.left || s.broken || s.status == 0 {
		c.hangUp()
	}
	if s.broken && !s.left {
		c.faults = append(c.faults, fmt.Sprintf("%s was cut off without a word: %+v", id, s))
	}
	time.Sleep(time.Duration(c.rand.IntN(40)) * time.Millisecond) // else refusals of a dead engine are all that is seen
}

func (c *chaosClient) request(id string, b body) string {
	text := b.String()
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: pod\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		pathOf(b), api.HeaderRequestID, id, len(text), text)
}

func (c *chaosClient) send(text string) { _, _ = io.WriteString(c.conn, text) } // the answer tells what became of it

// receive reads the answer to its end, or to that many events.
func (c *chaosClient) receive(what string, events int) sight {
	s := sight{what: what}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		s.broken = true
		return s
	}
	defer func() {
		if r.Close {
			c.hangUp()
		}
	}()
	s.status, s.id = r.StatusCode, r.Header.Get(api.HeaderRequestID)
	if r.Header.Get("Content-Type") != "text/event-stream" {
		_, err := io.Copy(io.Discard, r.Body)
		s.broken = err != nil
		s.done = err == nil
		return s
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
			continue
		case data == "[DONE]":
			s.done = true
		case strings.HasPrefix(data, `{"error"`):
			s.fault = data
		}
		if events--; events == 0 {
			s.left = true
			return s
		}
	}
	s.broken = lines.Err() != nil || !s.done && s.fault == ""
	return s
}

const allEvents = -1

func (c *chaosClient) whole(id string) sight {
	c.send(c.request(id, counting(1+c.rand.IntN(8))))
	return c.receive("asked for a whole answer", allEvents)
}

func (c *chaosClient) streamed(id string) sight {
	c.send(c.request(id, counting(1+c.rand.IntN(40)).with(body{"stream": true})))
	return c.receive("asked for a stream", allEvents)
}

func (c *chaosClient) leavesMidway(id string) sight {
	c.send(c.request(id, counting(500).with(body{"stream": true})))
	return c.receive("left a stream", 1+c.rand.IntN(10))
}

// leavesEarly leaves before the engine has begun to answer.
func (c *chaosClient) leavesEarly(id string) sight {
	c.send(c.request(id, chat(strings.Repeat("Tell me more. ", 40), 50)))
	time.Sleep(time.Duration(c.rand.IntN(60)) * time.Millisecond)
	return sight{what: "left before the answer", left: true}
}

// half sends a request but for the second half of its body, which it returns.
func (c *chaosClient) half(id string) string {
	text := c.request(id, chat("Hi.", 4))
	at := len(text) - 40
	c.send(text[:at])
	return text[at:]
}

func (c *chaosClient) stallsInBody(id string) sight {
	c.half(id)
	return c.receive("stalled in its body", allEvents)
}

func (c *chaosClient) leavesInBody(id string) sight {
	c.half(id)
	time.Sleep(time.Duration(c.rand.IntN(60)) * time.Millisecond)
	return sight{what: "left in its body", left: true}
}

func (c *chaosClient) slowBody(id string) sight {
	for _, b := range []byte(c.half(id)) {
		time.Sleep(time.Millisecond)
		c.send(string(b))
	}
	return c.receive("sent its body slowly", allEvents)
}

func (c *chaosClient) nonsense(id string) sight {
	switch c.rand.IntN(3) {
	case 0:
		c.send(strings.Replace(c.request(id, chat("Hi.", 4)), "Host: pod", "Host: pod\r\nHost: pod", 1))
	case 1:
		c.send(strings.Replace(c.request(id, chat("Hi.", 4)), "\"messages\"", "\"massages\"", 1))
	default:
		c.send(strings.Replace(c.request(id, chat("Hi.", 4)), "/v1/", "/v9/", 1))
	}
	return c.receive("sent nonsense", allEvents)
}
