package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/api"
)

// TestAnswersComeThroughAsTheUpstreamGaveThem asks an engine with a model directly and
// through another engine whose upstream it is: every field of the answer is the same.
func TestAnswersComeThroughAsTheUpstreamGaveThem(t *testing.T) {
	cfg := testConfig(t)
	near := startEngine(t, cfg)
	far := startRemote(t, remoteConfig(t, "unix:"+cfg.Socket))
	if got := far.called(far.current()); got != "random" {
		t.Errorf("the model is called %q", got)
	}
	for name, c := range map[string]struct{ path, body string }{
		"chat":       {chatPath, `{"model":"default","seed":7,"max_tokens":9,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}`},
		"sampling":   {completionPath, `{"model":"default","seed":3,"temperature":1.5,"top_k":20,"top_p":0.9,"min_p":0.01,"presence_penalty":1,"frequency_penalty":0.5,"logit_bias":{"5":3},"max_tokens":12,"prompt":"abc"}`},
		"greedy":     {completionPath, `{"model":"default","top_p":0,"max_tokens":6,"prompt":"abc"}`},
		"tokens":     {completionPath, `{"model":"default","temperature":0,"max_tokens":6,"prompt":[5,6,7]}`},
		"choices":    {chatPath, `{"model":"default","seed":5,"n":3,"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`},
		"logprobs":   {chatPath, `{"model":"default","seed":5,"logprobs":true,"top_logprobs":2,"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`},
		"completion": {completionPath, `{"model":"default","seed":5,"logprobs":0,"max_tokens":5,"prompt":"xyz"}`},
		"messages":   {messagesPath, `{"model":"default","temperature":0,"max_tokens":6,"system":"be brief","messages":[{"role":"user","content":"hi"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := near.post(c.path, c.body), far.post(c.path, c.body)
			if want.status != http.StatusOK || got.status != http.StatusOK {
				t.Fatalf("%d %s\n%d %s", want.status, want.body, got.status, got.body)
			}
			if w, g := plain(t, want.body), plain(t, got.body); !reflect.DeepEqual(w, g) {
				t.Errorf("got  %v\nwant %v", g, w)
			}
			if whole, inPieces := got.text(t), far.post(c.path, streamed(c.body)).text(t); c.path != messagesPath && name != "choices" && whole != inPieces {
				t.Errorf("whole %q, streamed %q", whole, inPieces)
			}
			for _, h := range []string{api.HeaderPromptTokens, api.HeaderCompletionTokens} {
				streamed := far.post(c.path, streamed(c.body))
				if streamed.outcome(h) != want.outcome(h) || got.outcome(h) != want.outcome(h) {
					t.Errorf("%s: %s streamed, %s whole, want %s", h, streamed.outcome(h), got.outcome(h), want.outcome(h))
				}
			}
		})
	}
	counted := `{"model":"default","messages":[{"role":"user","content":"hi"}]}`
	if want, got := near.post(messagesPath+"/count_tokens", counted).body, far.post(messagesPath+"/count_tokens", counted).body; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// plain is an answer without what differs between any two.
func plain(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "created", "system_fingerprint"} {
		delete(m, name)
	}
	usage := m["usage"].(map[string]any) // what of the prompt was cached depends on who asked first
	read, _ := usage["cache_read_input_tokens"].(float64)
	if input, ok := usage["input_tokens"].(float64); ok {
		usage["input_tokens"] = input + read
	}
	delete(usage, "cache_read_input_tokens")
	delete(usage, "prompt_tokens_details")
	return m
}

func TestUsageIsAskedForAndTakenOutAgain(t *testing.T) {
	up := startFaulty(t, "vllm", sound)
	e := startRemote(t, remoteConfig(t, up.URL))
	r := e.post(chatPath, streamed(greeting))
	options, _ := up.asked(t)["stream_options"].(map[string]any)
	if options["include_usage"] != true {
		t.Errorf("the upstream was asked with %v", up.asked(t))
	}
	if strings.Contains(r.body, "usage") || !strings.HasSuffix(r.body, "data: [DONE]\n\n") {
		t.Errorf("got %s", r.body)
	}
	if r.outcome(api.HeaderPromptTokens) != "11" || r.outcome(api.HeaderCompletionTokens) != "7" || r.outcome(api.HeaderCachedTokens) != "3" {
		t.Errorf("counts: %v", r.trailer)
	}
	asked := e.post(chatPath, strings.Replace(greeting, "{", `{"stream":true,"stream_options":{"include_usage":true},`, 1))
	if !strings.Contains(asked.body, `"prompt_tokens":11,"completion_tokens":7`) {
		t.Errorf("got %s", asked.body)
	}
	whole := e.post(chatPath, greeting)
	if whole.text(t) != "one two" || !strings.Contains(whole.body, `"completion_tokens":7`) {
		t.Errorf("got %s", whole.body)
	}
}

// TestAnAnswerWithoutAGoodEndIsEngineDied lets an upstream begin an answer and then
// do what cut connections, killed servers and broken ones do. If nothing of it was
// passed on yet, the answer is a status of its own.
func TestAnAnswerWithoutAGoodEndIsEngineDied(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request, _ map[string]any) {
		send(w, pieceEvent)
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			c.Close()
		}
	}
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request, map[string]any){
		"no terminal event":    sends(pieceEvent, endEvent, usageEvent),
		"no end of the choice": sends(pieceEvent, usageEvent, doneEvent),
		"connection cut":       cut,
		"error event":          sends(pieceEvent, `{"error":{"message":"CUDA error","code":500}}`),
		"no JSON":              sends(pieceEvent, `<html>`),
		"a choice of nobody's": sends(pieceEvent, `{"choices":[{"index":4,"delta":{"content":"x"}}]}`),
		"text after the end":   sends(pieceEvent, endEvent, moreEvent, doneEvent),
		"an unknown reason":    sends(pieceEvent, `{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}`, doneEvent),
		"half an event": func(w http.ResponseWriter, r *http.Request, _ map[string]any) {
			send(w, pieceEvent)
			fmt.Fprint(w, "data: [DO")
		},
		"a line without an end": func(w http.ResponseWriter, r *http.Request, _ map[string]any) {
			send(w, pieceEvent)
			fmt.Fprint(w, "data: "+strings.Repeat("x", 5<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := startFaulty(t, "vllm", serve)
			e := startRemote(t, remoteConfig(t, up.URL))
			r := e.post(chatPath, streamed(greeting))
			if strings.Contains(r.body, "[DONE]") || strings.Contains(r.body, `"finish_reason":"`) ||
				!strings.Contains(r.body, `"code":"engine_died"`) || r.outcome(api.HeaderFinish) != "engine_died" {
				t.Errorf("%d %s %v", r.status, r.body, r.trailer)
			}
			whole := e.post(chatPath, greeting)
			if whole.status != http.StatusBadGateway || whole.outcome(api.HeaderFinish) != "engine_died" {
				t.Errorf("whole: %d %s", whole.status, whole.body)
			}
			said := e.post(messagesPath, `{"model":"default","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}`)
			if strings.Contains(said.body, "message_stop") || !strings.Contains(said.body, `"type":"error"`) {
				t.Errorf("Anthropic's stream: %s", said.body)
			}
		})
	}
}

// TestLeavingReachesTheUpstreamAtOnce measures how long an upstream goes on working
// for a client that left.
func TestLeavingReachesTheUpstreamAtOnce(t *testing.T) {
	for _, begun := range []bool{true, false} {
		ended := make(chan time.Time, 1)
		up := startFaulty(t, "vllm", func(w http.ResponseWriter, r *http.Request, _ map[string]any) {
			if begun {
				send(w, pieceEvent)
			}
			<-r.Context().Done()
			ended <- time.Now()
		})
		e := startRemote(t, remoteConfig(t, up.URL))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, _ = e.do(e.request(ctx, http.MethodPost, chatPath, streamed(greeting)))
		left := time.Now()
		select {
		case at := <-ended:
			t.Logf("begun %t: the upstream's request ended after %s", begun, at.Sub(left))
		case <-time.After(testWait):
			t.Fatal("the upstream still works for a client that left")
		}
		e.until("the request is logged", func() bool { return len(e.logLines("request")) == 1 })
		if line := e.logLines("request")[0]; line["finish"] != "client_gone" {
			t.Errorf("%v", line)
		}
		e.until("nothing runs", func() bool { return e.remote().running.count() == 0 })
	}
}

func TestTimesAnUpstreamHas(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request, _ map[string]any) { <-r.Context().Done() }
	stall := func(w http.ResponseWriter, r *http.Request, _ map[string]any) {
		send(w, pieceEvent)
		<-r.Context().Done()
	}
	const short = 100 * time.Millisecond
	t.Run("to begin", func(t *testing.T) {
		cfg := remoteConfig(t, startFaulty(t, "vllm", hang).URL)
		cfg.Upstream.HeaderTimeout = short
		r := startRemote(t, cfg).post(chatPath, greeting)
		if r.status != http.StatusBadGateway || r.outcome(api.HeaderFinish) != "engine_died" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("to go on", func(t *testing.T) {
		cfg := remoteConfig(t, startFaulty(t, "vllm", stall).URL)
		cfg.Upstream.IdleTimeout = short
		r := startRemote(t, cfg).post(chatPath, streamed(greeting))
		if r.outcome(api.HeaderFinish) != "engine_died" || strings.Contains(r.body, "[DONE]") {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("by the request's deadline", func(t *testing.T) {
		e := startRemote(t, remoteConfig(t, startFaulty(t, "vllm", stall).URL))
		r := e.post(chatPath, greeting, api.HeaderDeadline, "100")
		if r.status != http.StatusGatewayTimeout || r.outcome(api.HeaderFinish) != "deadline" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("by a drain", func(t *testing.T) {
		e := startRemote(t, remoteConfig(t, startFaulty(t, "vllm", stall).URL))
		time.AfterFunc(100*time.Millisecond, func() { _ = e.current().drain(context.Background()) })
		r := e.post(chatPath, streamed(greeting))
		if r.outcome(api.HeaderFinish) != "drained" || strings.Contains(r.body, "[DONE]") {
			t.Errorf("%s %v", r.body, r.trailer)
		}
		if after := e.post(chatPath, greeting); after.status != http.StatusServiceUnavailable {
			t.Errorf("after the drain: %d %s", after.status, after.body)
		}
	})
}
