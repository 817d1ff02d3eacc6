package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/constrain"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

const personSchema = `{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":20},"age":{"type":"integer","minimum":0,"maximum":150},
	"sports":{"type":"array","items":{"enum":["chess","rowing","golf"]}}},"required":["name","age"],"additionalProperties":false}`

func jsonFormat(schema string) string {
	return `,"response_format":{"type":"json_schema","json_schema":{"name":"it","strict":true,"schema":` + schema + `}}`
}

// mustValidate checks an answer against a schema with a validator that is not ours.
func mustValidate(t *testing.T, schema, answer string) {
	t.Helper()
	source, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", source); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
	if err == nil {
		err = c.MustCompile("schema.json").Validate(value)
	}
	if err != nil {
		t.Errorf("%q does not validate: %v", answer, err)
	}
}

func TestAnswerThatStopsValidatesAgainstItsSchema(t *testing.T) {
	e := startEngine(t, testConfig(t))
	stopped := 0
	for seed := range 12 {
		stream := fmt.Sprintf(`,"seed":%d,"stream":%t,"logit_bias":{"37":4}}`, seed, seed%2 == 1) // 37 is the quote, so that texts end
		body := strings.Replace(hello, `"temperature":0,"max_tokens":8`, `"temperature":1,"max_tokens":120`, 1) + jsonFormat(personSchema)
		r := e.post(chatPath, body+stream)
		text := r.text(t)
		switch r.outcome(api.HeaderFinish) {
		case "stop":
			stopped++
			mustValidate(t, personSchema, text)
		case "length":
		default:
			t.Errorf("finish %s: %s", r.outcome(api.HeaderFinish), r.body)
		}
	}
	if stopped < 3 { // those that go on with their list are cut off
		t.Errorf("only %d of 12 answers came to their end", stopped)
	}
}

func TestAnswerEndsWithItsLastBrace(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(chatPath, strings.Replace(hello, `"max_tokens":8`, `"max_tokens":100`, 1)+jsonFormat(`{"const":{"ok":[true,null]}}`)+`,"logprobs":true,"n":2}`)
	for i, c := range r.choicesTold(t) {
		if c.text != `{"ok":[true,null]}` || c.finish != "stop" || len(c.tokens) == 0 {
			t.Errorf("choice %d: %+v", i, c)
		}
	}
}

func TestAnswerThatIsCutOffSaysLength(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(chatPath, strings.Replace(hello, `"max_tokens":8`, `"max_tokens":5`, 1)+jsonFormat(personSchema)+`}`)
	if r.text(t) != `{"nam` || r.outcome(api.HeaderFinish) != "length" {
		t.Errorf("%q, %s", r.text(t), r.outcome(api.HeaderFinish))
	}
}

func TestDefaultModelAnswersInJSON(t *testing.T) {
	e := startDefault(t)
	const schema = `{"type":"object","properties":{"name":{"type":"string","maxLength":20},"age":{"type":"integer","minimum":0,"maximum":150},"sport":{"enum":["chess","golf"]}},"required":["name","age","sport"]}`
	const question = "Tell me about Ann, who is 34 years old and plays chess. Answer as JSON."
	for _, temperature := range []string{"0", "0.8"} {
		r := e.post(chatPath, chatBody(question, 120, `,"seed":1,"temperature":`+temperature+jsonFormat(schema)))
		t.Logf("%s: %s", r.outcome(api.HeaderFinish), r.text(t))
		if r.outcome(api.HeaderFinish) != "stop" {
			t.Errorf("finish %s", r.outcome(api.HeaderFinish))
		}
		mustValidate(t, schema, r.text(t))
	}
	r := e.post(chatPath, chatBody(question, 24, `,"temperature":0,"response_format":{"type":"json_object"}`))
	t.Logf("%s: %s", r.outcome(api.HeaderFinish), r.text(t))
	if finish := r.outcome(api.HeaderFinish); finish == "stop" {
		var object map[string]any
		if err := json.Unmarshal([]byte(r.text(t)), &object); err != nil {
			t.Errorf("%q: %v", r.text(t), err)
		}
	} else if finish != "length" || !strings.HasPrefix(r.text(t), "{") {
		t.Errorf("finish %s", finish)
	}
}

// BenchmarkMask measures what a place in an answer costs when an answer stands there
// for the first time, with the default model's vocabulary, and when one stood there
// before.
func BenchmarkMask(b *testing.B) {
	cfg := testConfig(b)
	cfg.Model = enginetest.Default(b)
	e := startEngine(b, cfg)
	n := e.current().(*native)
	v, refused := dialect.Parse([]byte(personSchema))
	if refused != nil {
		b.Fatal(refused)
	}
	logits := make([]float32, n.model.Config().Vocab)
	words := constrain.NewVocabulary(n.words, n.tokenizer.Piece, n.tokenizer.IsEnd)
	for _, at := range []string{``, `{"name":"An`, `{"name":"Ann","age":3`, `{"name":"Ann","age":34,"sports":["`} {
		b.Run("first/"+at, func(b *testing.B) {
			for b.Loop() {
				m := constrain.NewMatcher(constrain.Schema(v), words)
				m.Accept([]byte(at))
				m.Constrain(logits)
			}
		})
		b.Run("again/"+at, func(b *testing.B) {
			m := constrain.NewMatcher(constrain.Schema(v), words)
			m.Accept([]byte(at))
			b.ReportAllocs()
			for b.Loop() {
				m.Constrain(logits)
			}
		})
	}
	b.Run("vocabulary", func(b *testing.B) {
		for b.Loop() {
			constrain.NewVocabulary(n.words, n.tokenizer.Piece, n.tokenizer.IsEnd)
		}
	})
}
