package e2e

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// llama is llama.cpp's own server with the default model.
type llama struct {
	*process
	port int
	url  string
}

// startLlama starts it, with a chat template in place of the model's own if one is given.
func startLlama(t *testing.T, port int, template ...string) *llama {
	t.Helper()
	args := append([]string{"e2e/python/llama_server.py", model, strconv.Itoa(port)}, template...)
	p, err := runBinary(python, root, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	l := &llama{process: p, port: port, url: "http://" + address(port)}
	t.Cleanup(func() {
		l.kill()
		if t.Failed() {
			t.Logf("llama.cpp's server at %s:\n%s", l.url, tail(l.stderr.String(), 2000))
		}
	})
	return l
}

func newLlama(t *testing.T, template ...string) *llama {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	l := startLlama(t, port, template...)
	l.awaitHealth(t)
	return l
}

func (l *llama) awaitHealth(t *testing.T) {
	t.Helper()
	await(t, "llama.cpp's server to load its model", func() bool {
		return callWith(http.DefaultClient, http.MethodGet, l.url+"/health", "").status == http.StatusOK
	})
}

// busy is how many requests it works on, as it says itself.
func (l *llama) busy(t *testing.T) float64 {
	t.Helper()
	return parseMetrics(t, exposition(t, l.url)).of(t, "llamacpp:requests_processing")
}

// TestInFrontOfLlamaCPP drives a pod whose upstreams are two of llama.cpp's servers,
// which are left, paused, killed in mid-stream and started again.
func TestInFrontOfLlamaCPP(t *testing.T) {
	one, two := newLlama(t), newLlama(t)
	p := newDoomedPod(t, settings{upstreams: []string{one.url, two.url}})
	t.Cleanup(func() { p.mustStop(t) })
	await(t, "both upstreams", func() bool { return p.upstreamsUp(t) == 2 })

	t.Run("answers", func(t *testing.T) { answersOfLlama(t, p, one) })
	t.Run("leaving", func(t *testing.T) { leavingLlama(t, p, one, two) })
	t.Run("paused", func(t *testing.T) {
		one.signal(syscall.SIGSTOP)
		for range 4 {
			if g := p.mustGenerate(t, chat(italy, 20)); !strings.Contains(g.text, "Rome") {
				t.Errorf("with one upstream paused: %+v", g)
			}
		}
		one.signal(syscall.SIGCONT)
		await(t, "both upstreams", func() bool { return p.upstreamsUp(t) == 2 })
	})
	t.Run("killed", func(t *testing.T) {
		s := p.mustStream(t, counting(800))
		s.pieces(t, 2)
		_ = one.cmd.Process.Kill()
		_ = two.cmd.Process.Kill() // whichever of them the stream was
		g := s.rest()
		if g.done || g.fault == nil || g.fault.Code != "engine_died" {
			t.Errorf("a stream whose upstream was killed: %+v, %v", g, s.err)
		}
		await(t, "readiness to turn", func() bool { return strings.Contains(p.health("ready").body, "upstream_unreachable") })
		if r := p.call(http.MethodPost, chatPath, chat(italy, 20).String()); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("without upstreams: %+v", r)
		}
		await(t, "the log", func() bool {
			lines := ofRequest(mustReadLogs(t, p.logDir(), "proxy"))[g.id]
			return len(lines) == 1 && lines[0].str("finish") == "engine_died"
		})
		again := startLlama(t, one.port)
		again.awaitHealth(t)
		await(t, "readiness", func() bool { return p.health("ready").status == http.StatusOK })
		if g := p.mustGenerate(t, chat(italy, 20)); !strings.Contains(g.text, "Rome") {
			t.Errorf("with an upstream that came back: %+v", g)
		}
	})
}

func (p *pod) upstreamsUp(t *testing.T) float64 { return p.scrape(t).sum("semantic_upstream_up") }

// answersOfLlama holds what comes through the pod against what the server says itself.
func answersOfLlama(t *testing.T, p *pod, l *llama) {
	direct := &pod{url: l.url, client: http.DefaultClient}
	for name, b := range map[string]body{"chat": chat(italy, 20), "completion": counting(16)} {
		want := direct.mustGenerate(t, b)
		got := p.mustGenerate(t, b)
		streamed := p.mustGenerate(t, b.with(body{"stream": true}))
		for how, g := range map[string]generation{"whole": got, "streamed": streamed} {
			if g.text != want.text || g.finish != want.finish || g.usage != want.usage || !g.done {
				t.Errorf("%s, %s: %+v, want %+v", name, how, g, want)
			}
		}
	}
	said := p.call(http.MethodPost, "/v1/messages", body{
		"model": "default", "max_tokens": 20, "temperature": 0, "stop_sequences": []string{"Rome"}, "messages": []message{{"user", italy}},
	}.String())
	if !strings.Contains(said.body, `"stop_reason":"stop_sequence","stop_sequence":"Rome"`) {
		t.Errorf("Anthropic's dialect: %+v", said)
	}
	counted := p.call(http.MethodPost, "/v1/messages/count_tokens", body{"model": "default", "messages": []message{{"user", italy}}}.String())
	if counted.status != http.StatusOK || !strings.Contains(counted.body, `"input_tokens":`) {
		t.Errorf("count_tokens: %+v", counted)
	}
	metrics := p.scrape(t)
	if metrics.sum("semantic_upstream_tokens_generated_total") == 0 {
		await(t, "the servers' own counts", func() bool { return p.scrape(t).sum("semantic_upstream_tokens_generated_total") > 0 })
	}
	if n := p.scrape(t).of(t, "semantic_tokens_generated_total"); n < 40 {
		t.Errorf("semantic_tokens_generated_total is %g", n)
	}
}

// leavingLlama leaves streams, and sees by the servers' own count that they stop.
func leavingLlama(t *testing.T, p *pod, servers ...*llama) {
	var streams []*stream
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := p.stream(ctx, counting(900))
		if err != nil {
			t.Fatal(err)
		}
		s.pieces(t, 1)
		streams = append(streams, s)
		t.Cleanup(cancel)
	}
	left := time.Now()
	for _, s := range streams {
		s.close()
	}
	await(t, "the servers to stop", func() bool {
		for _, l := range servers {
			if l.busy(t) > 0 {
				return false
			}
		}
		return true
	})
	t.Logf("no server works %s after the clients left", time.Since(left))
}

// TestInFrontOfAnotherPod has one pod compute for another.
func TestInFrontOfAnotherPod(t *testing.T) {
	behind := newPod(t)
	front := newDoomedPod(t, settings{upstreams: []string{behind.url}})
	t.Cleanup(func() { front.mustStop(t) })
	for name, b := range map[string]body{"chat": chat(italy, 20), "completion": counting(16)} {
		want, got := behind.mustGenerate(t, b), front.mustGenerate(t, b)
		streamed := front.mustGenerate(t, b.with(body{"stream": true}))
		if got.text != want.text || streamed.text != want.text || got.usage != want.usage || streamed.usage != want.usage {
			t.Errorf("%s: %+v and %+v, want %+v", name, got, streamed, want)
		}
	}
	s := front.mustStream(t, counting(600))
	s.pieces(t, 2)
	signalPID(t, behind.childPID("engine"), syscall.SIGKILL)
	if g := s.rest(); g.done || g.fault == nil || g.fault.Code != "engine_died" {
		t.Errorf("a stream whose upstream's engine was killed: %+v, %v", g, s.err)
	}
	await(t, "the other pod's return", func() bool {
		g, err := front.generate(chat(italy, 20))
		return err == nil && strings.Contains(g.text, "Rome")
	})
}
