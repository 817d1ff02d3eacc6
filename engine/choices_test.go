package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
)

// tokenTold is a token with its log-probability, as a chat tells it.
type tokenTold struct {
	Token   string
	Logprob float64
	Bytes   []byte
	Top     []tokenTold `json:"top_logprobs"`
}

func (t *tokenTold) UnmarshalJSON(data []byte) error {
	var raw struct {
		Token   string
		Logprob float64
		Bytes   []int
		Top     []tokenTold `json:"top_logprobs"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	t.Token, t.Logprob, t.Top, t.Bytes = raw.Token, raw.Logprob, raw.Top, nil
	for _, b := range raw.Bytes {
		t.Bytes = append(t.Bytes, byte(b))
	}
	return nil
}

// choiceTold is what one choice of an answer says, gathered from JSON or a stream.
type choiceTold struct {
	text, finish string
	tokens       []tokenTold
}

// choicesTold returns the choices of an answer by their indexes.
func (r reply) choicesTold(t testing.TB) map[int]*choiceTold {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	all := map[int]*choiceTold{}
	for _, data := range append(events(r.body), r.body) {
		var chunk struct {
			Choices []struct {
				Index          int
				Text           string
				Message, Delta struct{ Content string }
				Logprobs       *struct{ Content []tokenTold }
				FinishReason   string `json:"finish_reason"`
			}
		}
		if json.Unmarshal([]byte(data), &chunk) != nil {
			continue
		}
		for _, c := range chunk.Choices {
			if all[c.Index] == nil {
				all[c.Index] = &choiceTold{}
			}
			told := all[c.Index]
			told.text += c.Text + c.Message.Content + c.Delta.Content
			if c.FinishReason != "" {
				told.finish += c.FinishReason
			}
			if c.Logprobs != nil {
				told.tokens = append(told.tokens, c.Logprobs.Content...)
			}
		}
	}
	return all
}

func TestEachChoiceIsTheAnswerOfItsOwnSeed(t *testing.T) {
	e := startEngine(t, testConfig(t))
	const body = `{"model":"default","messages":[{"role":"user","content":"hello"}],"temperature":1.2,"max_tokens":9`
	var alone [3]string
	for i := range alone {
		alone[i] = e.post(chatPath, body+fmt.Sprintf(`,"seed":%d}`, 40+i)).text(t)
	}
	if alone[0] == alone[1] {
		t.Fatalf("two seeds gave the same %q", alone[0])
	}
	prompt := e.post(chatPath, body+`}`).outcome(api.HeaderPromptTokens)
	for _, stream := range []string{"", `,"stream":true,"stream_options":{"include_usage":true}`} {
		r := e.post(chatPath, body+`,"seed":40,"n":3`+stream+`}`)
		told := r.choicesTold(t)
		for i, want := range alone {
			if told[i] == nil || told[i].text != want || told[i].finish != "length" {
				t.Errorf("choice %d is %+v, want %q", i, told[i], want)
			}
		}
		if len(told) != 3 || !strings.Contains(r.body, `"prompt_tokens":`+prompt+`,"completion_tokens":27`) {
			t.Errorf("got %s", r.body)
		}
		if r.outcome(api.HeaderFinish) != "length" || r.outcome(api.HeaderCompletionTokens) != "27" || r.outcome(api.HeaderPromptTokens) != prompt {
			t.Errorf("outcome %v %v", r.header, r.trailer)
		}
	}
}

func TestFinishIsTheWorstOfTheChoices(t *testing.T) {
	e := startEngine(t, testConfig(t))
	const body = `{"model":"default","prompt":"hello","temperature":1.2,"max_tokens":9,"seed":40`
	first, second := e.post(completionPath, body+`}`).text(t), e.post(completionPath, strings.Replace(body, "40", "41", 1)+`}`).text(t)
	stop := ""
	for _, r := range first {
		if !strings.ContainsRune(second, r) {
			stop = string(r)
		}
	}
	if stop == "" {
		t.Fatalf("%q and %q have the same letters: take other seeds", first, second)
	}
	quoted, _ := json.Marshal(stop)
	r := e.post(completionPath, body+`,"n":2,"stop":`+string(quoted)+`}`)
	told := r.choicesTold(t)
	if told[0].finish != "stop" || told[1].finish != "length" || r.outcome(api.HeaderFinish) != "length" {
		t.Errorf("%s: %s", r.outcome(api.HeaderFinish), r.body)
	}
}

func TestAllowanceIsSharedByTheChoices(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(chatPath, hello+`,"n":3}`, api.HeaderAllowance, "11")
	if r.outcome(api.HeaderCompletionTokens) != "9" || r.outcome(api.HeaderFinish) != "length" {
		t.Errorf("%v", r.header)
	}
}

func TestClientWhoLeavesEndsAllChoices(t *testing.T) {
	e := startEngine(t, testConfig(t))
	resp, err := e.client.Do(e.request(t.Context(), http.MethodPost, completionPath, `{"model":"default","prompt":"a","n":4,"max_tokens":400,"temperature":0,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	e.until("all blocks are free", func() bool { return e.used() == 0 && e.State().Running == 0 })
}

func TestLogprobsAreOfTheTextAndAddUp(t *testing.T) {
	e := startEngine(t, testConfig(t))
	var whole []tokenTold
	for _, stream := range []string{"", `,"stream":true`} {
		r := e.post(chatPath, hello+`,"logprobs":true,"top_logprobs":20`+stream+`}`)
		told := r.choicesTold(t)[0]
		var bytes []byte
		for _, token := range told.tokens {
			bytes = append(bytes, token.Bytes...)
			if len(token.Top) != 20 || token.Top[0].Logprob != token.Logprob || token.Logprob > 0 {
				t.Errorf("greedy picked %q (%g), the likeliest is %+v", token.Token, token.Logprob, token.Top)
			}
			mass := 0.0
			for _, other := range token.Top {
				mass += math.Exp(other.Logprob)
			}
			if mass <= 0 || mass > 1+1e-6 {
				t.Errorf("20 of 288 tokens have a probability of %g together", mass)
			}
		}
		if len(told.tokens) != 8 || string([]rune(string(bytes))) != told.text {
			t.Errorf("%d tokens spell %q, the text is %q", len(told.tokens), bytes, told.text)
		}
		if stream == "" {
			whole = told.tokens
		} else if fmt.Sprint(whole) != fmt.Sprint(told.tokens) {
			t.Errorf("whole    %v\nstreamed %v", whole, told.tokens)
		}
	}
	if r := e.post(chatPath, hello+`}`); !strings.Contains(r.body, `"logprobs":null`) {
		t.Errorf("not asked for: %s", r.body)
	}
}

func TestLogprobsOfAStopStringAreNotTold(t *testing.T) {
	e := startEngine(t, testConfig(t))
	full := e.post(chatPath, hello+`}`).text(t)
	quoted, _ := json.Marshal(full[4:6])
	told := e.post(chatPath, hello+`,"logprobs":true,"stop":`+string(quoted)+`}`).choicesTold(t)[0]
	spelled := ""
	for _, token := range told.tokens {
		spelled += string(token.Bytes)
	}
	if told.finish != "stop" || spelled != told.text {
		t.Errorf("the tokens spell %q, the text is %q", spelled, told.text)
	}
}

func TestCompletionsTellLogprobsInTheirOwnForm(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(completionPath, `{"model":"default","prompt":"hello","temperature":0,"max_tokens":6,"logprobs":2}`)
	var got struct {
		Choices []struct {
			Text     string
			Logprobs struct {
				Tokens   []string
				Logprobs []float64            `json:"token_logprobs"`
				Top      []map[string]float64 `json:"top_logprobs"`
				Offsets  []int                `json:"text_offset"`
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatal(err)
	}
	l := got.Choices[0].Logprobs
	if len(l.Tokens) != 6 || len(l.Logprobs) != 6 || len(l.Top) != 6 || len(l.Offsets) != 6 {
		t.Fatalf("%s", r.body)
	}
	at := 0
	for i, token := range l.Tokens {
		if l.Offsets[i] != at || len(l.Top[i]) == 0 {
			t.Errorf("token %d begins at %d, want %d: %v", i, l.Offsets[i], at, l.Top[i])
		}
		at += len([]rune(token))
	}
}

func TestPenaltiesAndBiasesChangeWhatIsPicked(t *testing.T) {
	e := startEngine(t, testConfig(t))
	tokens := func(more string) []string {
		var out []string
		for _, token := range e.post(chatPath, strings.Replace(hello, `"max_tokens":8`, `"max_tokens":60`, 1)+`,"logprobs":true`+more+`}`).choicesTold(t)[0].tokens {
			out = append(out, string(token.Bytes))
		}
		return out
	}
	different := func(tokens []string) int {
		seen := map[string]bool{}
		for _, token := range tokens {
			seen[token] = true
		}
		return len(seen)
	}
	plain := tokens("")
	for _, more := range []string{`,"frequency_penalty":2`, `,"presence_penalty":2`} {
		if got := tokens(more); different(got) <= different(plain) {
			t.Errorf("%s: %d different tokens, without it %d", more, different(got), different(plain))
		}
	}
	// In the random models, a byte's token is the byte and three.
	for _, token := range tokens(`,"logit_bias":{"123":100}`) {
		if token != "x" {
			t.Errorf("with a bias for x came %q", token)
		}
	}
	for _, token := range tokens(fmt.Sprintf(`,"logit_bias":{"%d":-100}`, int(plain[0][0])+3)) {
		if token == plain[0] {
			t.Errorf("with a bias against %q it came", token)
		}
	}
}
