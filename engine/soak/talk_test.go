package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const (
	agents  = 24
	turns   = 6
	tenants = 3
	clients = 8 // for each engine
)

// talk is a conversation of one agent: what is asked in each turn, and what a fresh
// engine answers.
type talk struct {
	bodies  [turns]string
	answers [turns]string
}

// hold lets an engine without any memory of it answer a conversation. Each turn begins
// with the one before it and its answer.
func (e *engine) hold(t *testing.T, agent int) (all talk) {
	t.Helper()
	prompt := strings.Repeat(string(rune('a'+agent)), 60+3*agent)
	for turn := range turns {
		quoted, err := json.Marshal(prompt)
		if err != nil {
			t.Fatal(err)
		}
		all.bodies[turn] = fmt.Sprintf(`{"model":"default","prompt":%s,"temperature":0.9,"seed":%d,"max_tokens":%d,"stream":false}`, quoted, agent, 16+6*turn)
		e.order(t, "/admin/cache/flush")
		r := e.send(t.Context(), http.MethodPost, "/v1/completions", all.bodies[turn])
		if r.err != nil || !r.good() {
			t.Fatalf("%s: %v %s", all.bodies[turn], r.err, r.finish)
		}
		all.answers[turn] = r.text
		prompt += r.text + " and then "
	}
	return all
}

// reply is what came of a request.
type reply struct {
	err    error
	status int
	finish string
	cached string
	text   string
}

func (r reply) good() bool { return r.finish == "length" || r.finish == "stop" }

// send sends a request with headers in pairs.
func (e *engine) send(ctx context.Context, method, path, body string, headers ...string) (r reply) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r = reply{err: err, status: resp.StatusCode, finish: resp.Header.Get(api.HeaderFinish), cached: resp.Header.Get(api.HeaderCachedTokens)}
	if r.finish == "" {
		r.finish, r.cached = resp.Trailer.Get(api.HeaderFinish), resp.Trailer.Get(api.HeaderCachedTokens)
	}
	r.text = textOf(string(b))
	return r
}

// textOf reads a completion, whole or streamed.
func textOf(body string) string {
	var out strings.Builder
	for _, event := range strings.Split(body, "\n\n") {
		var chunk struct{ Choices []struct{ Text string } }
		if json.Unmarshal([]byte(strings.TrimPrefix(event, "data: ")), &chunk) == nil {
			for _, c := range chunk.Choices {
				out.WriteString(c.Text)
			}
		}
	}
	return out.String()
}

// tally counts what happened.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *tally) add(what string, n int) {
	c.mu.Lock()
	c.seen[what] += n
	c.mu.Unlock()
}

// turn takes a turn of some agent, or ends the agent, and holds the answer against that
// of a fresh engine. Some clients leave in the middle, and some have little time.
func (e *engine) turn(t *testing.T, rng *rand.Rand, talks []talk, c *tally) {
	agent, turn := rng.IntN(agents), rng.IntN(turns)
	body := talks[agent].bodies[turn]
	headers := []string{api.HeaderTenant, fmt.Sprint("tenant", rng.IntN(tenants)), api.HeaderAgent, fmt.Sprint("agent", agent)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch rng.IntN(20) {
	case 0:
		if r := e.send(ctx, http.MethodDelete, fmt.Sprint("/v1/agents/agent", agent), "", headers[:2]...); r.status == http.StatusOK {
			c.add("deleted", 1)
		}
		return
	case 1, 2, 3:
		timer := time.AfterFunc(time.Duration(rng.IntN(20))*time.Millisecond, cancel)
		defer timer.Stop()
	case 4:
		headers = append(headers, api.HeaderDeadline, fmt.Sprint(rng.IntN(30)))
	case 5:
		headers = headers[:2] // no agent: the prefix alone is shared
	}
	if rng.IntN(2) == 0 {
		body = strings.Replace(body, `"stream":false`, `"stream":true`, 1)
	}
	r := e.send(ctx, http.MethodPost, "/v1/completions", body, headers...)
	switch {
	case r.err != nil && ctx.Err() != nil:
		c.add("cancelled", 1)
	case r.err != nil || r.finish == "":
		c.add("cut off", 1)
	case !r.good():
		c.add(r.finish, 1)
	default:
		c.add("compared", 1)
		if r.cached != "0" {
			c.add("with something cached", 1)
		}
		if want := talks[agent].answers[turn]; r.text != want {
			t.Errorf("agent %d, turn %d, %s tokens cached:\ngot  %q\nwant %q", agent, turn, r.cached, r.text, want)
		}
	}
}
