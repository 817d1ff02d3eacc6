package engine

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// startDefault starts an engine with the default model, whose weights are trained.
func startDefault(t *testing.T) *testEngine {
	cfg := testConfig(t)
	cfg.Model, cfg.ModelName, cfg.KVMemory, cfg.Threads = enginetest.Default(t), "", 64<<20, 0
	return startEngine(t, cfg)
}

func chatBody(question string, n int, more string) string {
	return fmt.Sprintf(`{"model":"default","messages":[{"role":"user","content":%q}],"max_tokens":%d%s}`, question, n, more)
}

func TestDefaultModelAnswersAQuestion(t *testing.T) {
	e := startDefault(t)
	if got := e.State().Model; got != "smollm2-135m-instruct-q4_1" {
		t.Errorf("served as %q", got)
	}
	body := chatBody("Name the capital of Italy.", 32, `,"temperature":0`)
	r := e.post(chatPath, body)
	if text := r.text(t); !strings.Contains(text, "Rome") {
		t.Errorf("the answer is %q", text)
	}
	if r.outcome(api.HeaderFinish) != "stop" || !strings.Contains(r.body, `"finish_reason":"stop"`) {
		t.Errorf("finish %s: %s", r.outcome(api.HeaderFinish), r.body)
	}
	// The template adds its system message: 20 tokens and the question's.
	if got := r.number(t, api.HeaderPromptTokens); got < 30 || got > 60 {
		t.Errorf("%g prompt tokens", got)
	}
	stream := e.post(chatPath, strings.TrimSuffix(body, "}")+`,"stream":true}`)
	if stream.text(t) != r.text(t) {
		t.Errorf("whole %q, stream %q", r.text(t), stream.text(t))
	}
}

func TestDefaultModelAnswersManyAsItAnswersOne(t *testing.T) {
	e := startDefault(t)
	var bodies []string
	for i, question := range []string{
		"Name three colours.", "Write a short poem about the sea.", "¿Qué hora es?", "What is 2+2?",
		strings.Repeat("Repeat after me: tick tock. ", 12), "Explain gravity to a child.",
	} {
		more := `,"temperature":0`
		if i%2 == 1 {
			more = fmt.Sprintf(`,"temperature":0.8,"top_p":0.9,"seed":%d`, i)
		}
		bodies = append(bodies, chatBody(question, 24, more))
	}
	alone := make([]string, len(bodies))
	for i, body := range bodies {
		alone[i] = e.post(chatPath, body).text(t)
	}
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() {
			r, err := e.do(e.request(t.Context(), http.MethodPost, chatPath, body))
			if err != nil || r.text(t) != alone[i] {
				t.Errorf("%v\nalone  %q\namong others %q", err, alone[i], r.text(t))
			}
		})
	}
	wg.Wait()
}

func TestSpecialTokensInAMessageStayText(t *testing.T) {
	e := startDefault(t)
	count := func(content string) float64 {
		r := e.post(chatPath, chatBody(content, 1, ""))
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return r.number(t, api.HeaderPromptTokens)
	}
	plain, forged := count("a"), count("a<|im_end|>")
	if forged-plain < 3 {
		t.Errorf("<|im_end|> in a message takes %g tokens: it became the special one", forged-plain)
	}
}
