package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
)

// Lengths of an answer's body that are no number of bytes.
const (
	lengthUnknown = -1 // neither told nor chunked
	lengthChunked = -2
)

// maxHeaderLines bounds the headers of an answer.
const maxHeaderLines = 256

// answerHead is the status and headers of an answer of the engine.
type answerHead struct {
	status    int
	length    int64
	close     bool // the engine closes the connection after it
	sse       bool
	lengthSet bool
	types     int // headers that say what it is

	retryAfter bool // it says when to come again
}

// read reads up to the body. Headers that may go to the client are added to to;
// those that tell how the request ended go to out. Both may be nil.
func (a *answerHead) read(u *upstream, x *exchange) error {
	for {
		if err := a.readStatus(u); err != nil {
			return err
		}
		if err := a.readHeaders(u, x); err != nil {
			return err
		}
		if a.status >= 200 {
			return a.judge()
		}
		if a.status == fasthttp.StatusSwitchingProtocols {
			return fmt.Errorf("%w: it switches protocols", errGarbage)
		}
	}
}

// nextLine returns the next line, waiting for it.
func nextLine(u *upstream) ([]byte, error) {
	for {
		line, err := u.line()
		if !errors.Is(err, errMore) {
			return line, err
		}
		if err := u.fill(); err != nil {
			return nil, err
		}
	}
}

func (a *answerHead) readStatus(u *upstream) error {
	*a = answerHead{length: lengthUnknown}
	line, err := nextLine(u)
	if err != nil {
		return err
	}
	// HTTP/1.1 200 OK
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return fmt.Errorf("%w: its first line is no HTTP", errGarbage)
	}
	a.close = line[7] == '0'
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: its status is no number", errGarbage)
		}
		a.status = a.status*10 + int(c-'0')
	}
	if a.status < 100 || a.status > 599 {
		return fmt.Errorf("%w: there is no status %d", errGarbage, a.status)
	}
	return nil
}

func (a *answerHead) readHeaders(u *upstream, x *exchange) error {
	for range maxHeaderLines {
		line, err := nextLine(u)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		name, value, err := cutHeader(line)
		if err != nil {
			return err
		}
		if err := a.take(name, value); err != nil {
			return err
		}
		if x != nil && a.status >= 200 && !x.out.take(name, value) && passes(name) {
			x.passOn(name, value)
		}
	}
	return fmt.Errorf("%w: it has more than %d headers", errGarbage, maxHeaderLines)
}

// passOn has the answer carry a header of the engine's.
func (x *exchange) passOn(name, value []byte) {
	if x.conn.lane == nil {
		x.ctx.Response.Header.AddBytesKV(name, value)
		return
	}
	x.lines = append(append(append(append(x.lines, name...), ": "...), value...), "\r\n"...)
}

func cutHeader(line []byte) (name, value []byte, err error) {
	name, value, bad := cutLine(line)
	if bad != "" {
		return nil, nil, fmt.Errorf("%w: %s", errGarbage, bad)
	}
	return name, value, nil
}

// take keeps what tells how long the body is and what it is.
func (a *answerHead) take(name, value []byte) error {
	switch len(name) {
	case len("content-length"):
		if !is(name, "content-length") {
			return nil
		}
		n, ok := parseCount(value)
		if !ok || a.lengthSet {
			return fmt.Errorf("%w: its Content-Length is no single number", errGarbage)
		}
		a.length, a.lengthSet = n, true
	case len("transfer-encoding"):
		if !is(name, "transfer-encoding") {
			return nil
		}
		if !is(value, "chunked") || a.lengthSet {
			return fmt.Errorf("%w: its Transfer-Encoding is not chunked alone", errGarbage)
		}
		a.length, a.lengthSet = lengthChunked, true
	case len("connection"):
		a.close = a.close || is(name, "connection") && is(value, "close")
	case len("retry-after"):
		a.retryAfter = a.retryAfter || is(name, "retry-after")
	case len("content-type"):
		if is(name, "content-type") {
			a.types++
			media, _, _ := bytes.Cut(value, []byte(";"))
			a.sse = is(bytes.TrimSpace(media), "text/event-stream")
		}
	}
	return nil
}

// judge finds out whether the body's end can be told from its being cut off.
func (a *answerHead) judge() error {
	if a.status == fasthttp.StatusNoContent || a.status == fasthttp.StatusNotModified {
		a.length = 0
	}
	if a.length == lengthUnknown {
		return fmt.Errorf("%w: it does not say how long it is", errGarbage)
	}
	return nil
}

// hopByHop are the headers that are for one connection, and those that the proxy
// writes itself.
var hopByHop = []string{
	"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade",
	"content-length", "date", "server", "x-request-id", "x-response-time", "traceparent", "server-timing",
}

// passes reports whether a header of the engine's may go to the client.
func passes(name []byte) bool {
	if len(name) > len(internalPrefix) && is(name[:len(internalPrefix)], internalPrefix) {
		return is(name, agentConflict)
	}
	if len(name) < len(hopByHopOf) {
		for _, h := range hopByHopOf[len(name)] {
			if is(name, h) {
				return false
			}
		}
	}
	return true
}

// hopByHopOf are they by their length.
var hopByHopOf = func() (of [20][]string) {
	for _, h := range hopByHop {
		of[len(h)] = append(of[len(h)], h)
	}
	return of
}()

// internalPrefix starts the names of all headers that stay inside the pod.
const internalPrefix = "semantic-"

// agentConflict is api.HeaderAgentConflict in lower case.
const agentConflict = "semantic-agent-conflict"

// parseCount reads a whole number that is not negative.
func parseCount(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// finishOf is the class of a whole answer: what the engine said, else what its
// status says.
func finishOf(status int, said api.Finish) api.Finish {
	switch {
	case said != "":
		return said
	case status < 400:
		return api.FinishOK
	}
	return (&api.Error{Status: status}).Class()
}
