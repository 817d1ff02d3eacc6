package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

// call sends a request and reads the answer whole.
func (p *pod) call(method, path, body string, header ...string) reply {
	return callWith(p.client, method, p.url+path, body, header...)
}

func callWith(client *http.Client, method, url, body string, header ...string) reply {
	req, err := newRequest(context.Background(), method, url, body, header...)
	if err != nil {
		return reply{err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), err}
}

func newRequest(ctx context.Context, method, url, body string, header ...string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req, nil
}

func (p *pod) health(of string) reply { return p.call(http.MethodGet, "/health/"+of, "") }

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

// answer is OpenAI's answer to a chat or a completion, or an event of its stream.
type answer struct {
	ID, Object, Model string
	Choices           []struct {
		Text           string
		Message, Delta struct{ Role, Content string }
		FinishReason   *string `json:"finish_reason"`
	}
	Usage *usage
	Error *fault
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// fault is OpenAI's shape of an error.
type fault struct {
	Message, Type, Code string
	Param               *string
}

// generation is what a client got of one request, whichever way it came.
type generation struct {
	id, text, finish string
	usage            usage
	pieces           int           // events with text
	first, whole     time.Duration // until the first text, and the end
	fault            *fault
	done             bool // the terminal event came
}

// body is a request's fields as JSON.
type body map[string]any

func (b body) with(more body) body {
	all := body{}
	for _, m := range []body{b, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

func (b body) String() string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // literals of the tests
	}
	return string(text)
}

// chat is the body of a chat of one turn, greedy unless told otherwise.
func chat(text string, maxTokens int) body {
	return body{"model": "default", "temperature": 0, "max_tokens": maxTokens, "messages": []message{{"user", text}}}
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// counting is the body of a completion that goes on for as long as it may: nothing
// is likelier than the next number.
func counting(maxTokens int) body {
	return body{"model": "default", "temperature": 0, "max_tokens": maxTokens, "prompt": "1, 2, 3, 4, 5, 6, 7, 8,"}
}

func pathOf(b body) string {
	if b["prompt"] != nil {
		return completionPath
	}
	return chatPath
}

// generate sends a body and reads the answer, streamed or whole as the body asks.
func (p *pod) generate(b body, header ...string) (generation, error) {
	if b["stream"] == true {
		s, err := p.stream(context.Background(), b, header...)
		if err != nil {
			return generation{}, err
		}
		defer s.close()
		for s.next() {
		}
		return s.got, s.err
	}
	began := time.Now()
	r := p.call(http.MethodPost, pathOf(b), b.String(), header...)
	if r.err != nil || r.status != http.StatusOK {
		return generation{}, fmt.Errorf("%w: %d %s", orNil(r.err), r.status, r.body)
	}
	var a answer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil || len(a.Choices) != 1 || a.Usage == nil {
		return generation{}, fmt.Errorf("%w: %s", orNil(err), r.body)
	}
	g := generation{id: r.header.Get(api.HeaderRequestID), usage: *a.Usage, whole: time.Since(began), done: true}
	g.text = a.Choices[0].Text + a.Choices[0].Message.Content
	g.finish = *a.Choices[0].FinishReason
	return g, nil
}

type unexpected struct{}

func (unexpected) Error() string { return "unexpected answer" }

func orNil(err error) error {
	if err == nil {
		return unexpected{}
	}
	return err
}

func (p *pod) mustGenerate(t *testing.T, b body, header ...string) generation {
	t.Helper()
	g, err := p.generate(b, header...)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return g
}

// stream is an answer that is being received.
type stream struct {
	got   generation
	err   error // of the transport, or an event that cannot be read
	began time.Time
	body  io.ReadCloser
	lines *bufio.Scanner
	stop  context.CancelFunc
}

// stream sends a body with stream set, and returns when the headers are here.
func (p *pod) stream(ctx context.Context, b body, header ...string) (*stream, error) {
	ctx, stop := context.WithTimeout(ctx, 2*patience)
	b = b.with(body{"stream": true, "stream_options": body{"include_usage": true}})
	req, err := newRequest(ctx, http.MethodPost, p.url+pathOf(b), b.String(), header...)
	if err != nil {
		stop()
		return nil, err
	}
	s := &stream{began: time.Now(), stop: stop}
	resp, err := p.client.Do(req)
	if err != nil {
		stop()
		return nil, err
	}
	s.body = resp.Body
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(resp.Body)
		s.close()
		return nil, fmt.Errorf("%w: %d %v %s", unexpected{}, resp.StatusCode, resp.Header, text)
	}
	s.got.id = resp.Header.Get(api.HeaderRequestID)
	s.lines = bufio.NewScanner(resp.Body)
	s.lines.Buffer(nil, 1<<20)
	s.lines.Split(splitEvents)
	return s, nil
}

// splitEvents cuts server-sent events; a last one without its end is an error.
func splitEvents(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		return i + 2, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, fmt.Errorf("the stream ends inside of an event: %q", data)
	}
	return 0, nil, nil
}

// next takes the next event; false at the end.
func (s *stream) next() bool {
	if s.err != nil || !s.lines.Scan() {
		if s.err == nil {
			s.err = s.lines.Err()
		}
		s.got.whole = time.Since(s.began)
		return false
	}
	data, ok := strings.CutPrefix(s.lines.Text(), "data: ")
	switch {
	case !ok || s.got.done:
		s.err = fmt.Errorf("%w: event %q after %+v", unexpected{}, s.lines.Text(), s.got)
	case data == "[DONE]":
		s.got.done = true
	default:
		s.take(data)
	}
	return s.err == nil
}

func (s *stream) take(data string) {
	var a answer
	if err := json.Unmarshal([]byte(data), &a); err != nil {
		s.err = fmt.Errorf("event %q: %w", data, err)
		return
	}
	if a.Error != nil {
		s.got.fault = a.Error
	}
	if a.Usage != nil {
		s.got.usage = *a.Usage
	}
	for _, c := range a.Choices {
		if text := c.Text + c.Delta.Content; text != "" {
			if s.got.pieces++; s.got.pieces == 1 {
				s.got.first = time.Since(s.began)
			}
			s.got.text += text
		}
		if c.FinishReason != nil {
			s.got.finish = *c.FinishReason
		}
	}
}

// pieces reads until that many events with text have come.
func (s *stream) pieces(t *testing.T, n int) {
	t.Helper()
	for s.got.pieces < n {
		if !s.next() {
			t.Fatalf("the stream ended early: %+v, %v", s.got, s.err)
		}
	}
}

// rest reads to the end.
func (s *stream) rest() generation {
	for s.next() {
	}
	s.close()
	return s.got
}

// close leaves, whether the answer has ended or not.
func (s *stream) close() {
	s.stop()
	s.body.Close()
}

func (p *pod) mustStream(t *testing.T, b body, header ...string) *stream {
	t.Helper()
	s, err := p.stream(context.Background(), b, header...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// over is a client that talks to a Unix socket.
func over(socket string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
}

// engineState asks the engine how it is, beside the proxy.
func engineState(t *testing.T, p *pod) api.EngineState {
	t.Helper()
	r := callWith(over(p.socket("engine")), http.MethodGet, "http://pod"+api.PathState, "")
	var s api.EngineState
	if r.err != nil || json.Unmarshal([]byte(r.body), &s) != nil {
		t.Fatalf("the engine's state: %v, %d %s", r.err, r.status, r.body)
	}
	return s
}
