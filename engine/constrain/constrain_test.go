package constrain

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// compile returns the grammar of a schema, or the fault that it has.
func compile(schema string) (*Grammar, error) {
	v, err := dialect.Parse([]byte(schema))
	if err != nil {
		return nil, err
	}
	g := Schema(v)
	if v.Err() != nil {
		return nil, v.Err()
	}
	return g, nil
}

// theEnd is the token that ends an answer. The tokens below it are single bytes.
const theEnd = 256

var longer = []string{"{\"", "\":", "\": ", "\",\"", "\", \"", "\"}", "}}", "]}", "\"]", "[[", "true", "false", "null", " the", "é", "😀", "12", "-1", "0.", "},{", "\"a\"", "  ", "\n\n"}

// words are a small vocabulary: all bytes, and tokens across the joints of JSON.
var words = NewVocabulary(theEnd+1+len(longer), func(id int32) []byte {
	switch {
	case id < theEnd:
		return []byte{byte(id)}
	case id == theEnd:
		return nil
	}
	return []byte(longer[id-theEnd-1])
}, func(id int32) bool { return id == theEnd })

func piece(id int) string {
	if id < theEnd {
		return string([]byte{byte(id)})
	}
	return longer[id-theEnd-1]
}

// write lets a random model write an answer. It returns false if that took too long.
func write(t *testing.T, g *Grammar, rng *rand.Rand) (string, bool) {
	t.Helper()
	m := NewMatcher(g, words)
	var out strings.Builder
	logits := make([]float32, words.size)
	hurry := 1 + rng.Float32()*4
	for range 1500 {
		if m.Done() {
			return out.String(), true
		}
		for i := range logits {
			logits[i] = float32(rng.NormFloat64())
		}
		for _, b := range `"]}` {
			logits[b] += hurry // or else texts and lists have no end
		}
		if m.Constrain(logits) == 0 {
			t.Fatalf("nothing may follow %q", out.String())
		}
		best, at := float32(math.Inf(-1)), -1
		for i, x := range logits {
			if x > best {
				best, at = x, i
			}
		}
		if at == theEnd {
			if !m.Complete() {
				t.Fatalf("the end is let through after %q", out.String())
			}
			return out.String(), true
		}
		if !m.Accept([]byte(piece(at))) {
			t.Fatalf("%q is let through after %q, and refused", piece(at), out.String())
		}
		out.WriteString(piece(at))
	}
	return out.String(), false
}

// randomSchema returns a schema of the subset, with references to the definitions.
func randomSchema(rng *rand.Rand, depth int) any {
	one := func(all ...any) any { return all[rng.IntN(len(all))] }
	kinds := 12
	if depth <= 0 {
		kinds = 8
	}
	switch rng.IntN(kinds) {
	case 0:
		return map[string]any{"type": one("string", "boolean", "null", "number", "integer")}
	case 1:
		s := map[string]any{"type": "string"}
		if rng.IntN(2) == 0 {
			s["minLength"] = rng.IntN(5)
		}
		if rng.IntN(2) == 0 {
			s["maxLength"] = 4 + rng.IntN(6)
		}
		return s
	case 2:
		low := rng.Float64()*400 - 200
		s := map[string]any{"type": one("number", "integer"), one("minimum", "exclusiveMinimum").(string): math.Round(low*100) / 100}
		if rng.IntN(2) == 0 {
			s[one("maximum", "exclusiveMaximum").(string)] = math.Round((low+1.5+rng.Float64()*300)*100) / 100
		}
		return s
	case 3:
		return map[string]any{"enum": []any{"a", "ab", 1, 12, -3.5, nil, true, map[string]any{"k": []any{1, "é"}}, "q\"\\\n"}[rng.IntN(5):]}
	case 4:
		return map[string]any{"const": one("x y", 17, false, nil, []any{1, 2})}
	case 5:
		return map[string]any{"type": []any{"string", one("integer", "null", "array")}, "minLength": 2}
	case 6:
		return map[string]any{"$ref": one("#/$defs/tree", "#/$defs/leaf"), "description": "one of ours"}
	case 7:
		return one(true, map[string]any{}, map[string]any{"maximum": 5, "required": []any{"z"}})
	case 8:
		return map[string]any{"anyOf": []any{randomSchema(rng, depth-1), randomSchema(rng, depth-1), randomSchema(rng, depth-1)}}
	case 9:
		return map[string]any{"type": "array", "items": randomSchema(rng, depth-1)}
	}
	properties, required := map[string]any{}, []any{}
	for range rng.IntN(5) {
		name := one("a", "ab", "abc", "b", "é", "q\"", "some longer name", "").(string)
		if _, ok := properties[name]; ok {
			continue
		}
		properties[name] = randomSchema(rng, depth-1)
		if rng.IntN(2) == 0 {
			required = append(required, name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "required": required}
	switch rng.IntN(4) {
	case 0:
		s["additionalProperties"] = false
	case 1:
		s["additionalProperties"] = randomSchema(rng, depth-1)
	case 2:
		s["additionalProperties"] = true
		s["required"] = append(required, "undeclared")
	}
	return s
}

func TestEveryCompleteAnswerValidates(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 26))
	complete, refused := 0, 0
	for range 600 {
		schema := map[string]any{
			"$defs": map[string]any{
				"tree": map[string]any{"type": "object", "properties": map[string]any{"left": map[string]any{"$ref": "#/$defs/tree"}, "n": map[string]any{"type": "integer"}}, "required": []any{"n"}},
				"leaf": randomSchema(rng, 0),
			},
			"anyOf": []any{randomSchema(rng, 3)},
		}
		source, _ := json.Marshal(schema)
		g, err := compile(string(source))
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "cannot be satisfied") && !strings.Contains(err.Error(), "no value of") {
				t.Fatalf("%s\n%v", source, err)
			}
			continue
		}
		validator := validator(t, string(source))
		for range 3 {
			answer, ended := write(t, g, rng)
			if !ended {
				continue
			}
			complete++
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
			if err == nil {
				err = validator.Validate(value)
			}
			if err != nil || !utf8.ValidString(answer) || !json.Valid([]byte(answer)) {
				t.Fatalf("schema %s\nanswer %s\n%v", source, answer, err)
			}
		}
	}
	t.Logf("%d answers, %d schemas that nothing satisfies", complete, refused)
	if complete < 1000 {
		t.Errorf("only %d answers were complete", complete)
	}
}

func validator(t testing.TB, source string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(source))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reads says how far a grammar reads an answer, and whether it may end there.
func reads(g *Grammar, answer string) (n int, complete bool) {
	m := NewMatcher(g, words)
	for n < len(answer) && m.Accept([]byte{answer[n]}) {
		n++
	}
	return n, m.Complete()
}

func TestGrammarReadsWhatTheSchemaAllowsAndNoMore(t *testing.T) {
	for _, c := range []struct {
		schema    string
		good, bad []string
	}{
		{`{"type":"integer","minimum":-12,"exclusiveMaximum":205}`, []string{"-12", "0", "204", "9", "-0"}, []string{"-13", "205", "01", "-", "1.5", "1000"}},
		{`{"type":"number","exclusiveMinimum":0,"maximum":0.25}`, []string{"0.25", "0.1", "0.000001"}, []string{"0", "0.26", "-0.1", "0.0", "1", "0."}},
		{`{"type":"number","minimum":1e-9,"maximum":2e-9}`, []string{"0.000000001", "0.0000000015"}, []string{"0", "0.000000003"}},
		{`{"type":"integer","minimum":3.2,"maximum":4.9}`, []string{"4"}, []string{"3", "5"}},
		{`{"type":"integer","maximum":1e30}`, []string{"99999999999999999", "-5"}, []string{"100000000000000000"}},
		{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"éé😀"`, `"\u0041\n"`}, []string{`"a"`, `"abcd"`, "\"a\nb\"", `"\ud800a"`}},
		{`{"enum":["a","ab",1,12,null]}`, []string{`"a"`, `"ab"`, "1", "12", "null"}, []string{`"b"`, "2", "123"}},
		{`{"enum":["a",1,null],"type":["string","null"]}`, []string{`"a"`, "null"}, []string{"1"}},
		{`{"const":null}`, []string{"null"}, []string{"0"}},
		{`{"type":"array","items":{"enum":[1,12]}}`, []string{"[]", "[1,12]", "[12, 1]"}, []string{"[1,]", "[ 1]", "[1 ]", "[1,  2]", "[2]"}},
		{
			`{"properties":{"a":{"type":"integer"},"b":{"type":"boolean"},"c":{}},"required":["b"]}`,
			[]string{`{"b":true}`, `{"a": 1, "b":false, "c":[{}]}`, `{"b":true,"c":null}`},
			[]string{`{}`, `{"a":1}`, `{"b":true,"a":1}`, `{"b":true,"d":1}`, `{"b":true,"b":true}`, `{ "b":true}`, "{\n"},
		},
		{`{"properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"boolean"}}`, []string{`{"ab":1,"a":true,"abc":false}`, `{"x":true}`, `{"":true}`}, []string{`{"x":true,"ab":true}`, `{"ab":true}`, `{"\u0061b":true}`, `{"x":1}`}},
		{`{"type":"object","additionalProperties":false}`, []string{`{}`}, []string{`{"a":1}`}},
		{`{"anyOf":[{"type":"object","properties":{"kind":{"const":"x"},"n":{"type":"integer"}},"required":["kind","n"]},{"type":"object","properties":{"kind":{"const":"y"}},"required":["kind"]}]}`,
			[]string{`{"kind":"y"}`, `{"kind":"x","n":5}`}, []string{`{"kind":"x"}`, `{"kind":"y","n":5}`}},
		{`{"$defs":{"list":{"anyOf":[{"type":"null"},{"type":"object","properties":{"next":{"$ref":"#/$defs/list"}},"required":["next"]}]}},"$ref":"#/$defs/list"}`,
			[]string{"null", `{"next":{"next":null}}`}, []string{`{}`, `{"next":1}`}},
		{`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`, []string{"null"}, []string{"1"}},
		{`true`, []string{`{"a":[1,"b",{"c":null}]}`, "3.25", "true"}, []string{"tru", "{]", "1e5"}},
	} {
		g, err := compile(c.schema)
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		for _, answer := range c.good {
			if n, complete := reads(g, answer); n < len(answer) || !complete {
				t.Errorf("%s: %s is read up to %q, complete %t", c.schema, answer, answer[:n], complete)
			}
		}
		for _, answer := range c.bad {
			if n, complete := reads(g, answer); n == len(answer) && complete {
				t.Errorf("%s: %s is let through", c.schema, answer)
			}
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	g := Object()
	good := strings.Repeat(`{"a":`, MaxDepth-1) + `{}` + strings.Repeat("}", MaxDepth-1)
	if n, complete := reads(g, good); n < len(good) || !complete {
		t.Errorf("%d deep: read up to %q", MaxDepth, good[:n])
	}
	if n, _ := reads(g, strings.Repeat(`{"a":`, MaxDepth+1)); n > MaxDepth*5 {
		t.Errorf("read up to %d bytes", n)
	}
	if n, _ := reads(g, `[`); n > 0 {
		t.Error("an array passes for an object")
	}
}

func TestSchemaOutsideTheSubsetIsRefusedByName(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"string","pattern":"a"}`:                                    "400 unsupported_parameter (pattern)",
		`{"type":"string","format":"date"}`:                                  "400 unsupported_parameter (format)",
		`{"type":"object","properties":{"a":{"not":{}}}}`:                    "400 unsupported_parameter (properties.a.not)",
		`{"type":"array","minItems":1}`:                                      "400 unsupported_parameter (minItems)",
		`{"anyOf":[{"oneOf":[]}]}`:                                           "400 unsupported_parameter (anyOf[0].oneOf)",
		`{"anyOf":[{}],"type":"string"}`:                                     "400 unsupported_parameter (type)",
		`{"$ref":"#/$defs/a","minLength":1,"$defs":{"a":{}}}`:                "400 unsupported_parameter (minLength)",
		`{"$ref":"https://example.com/s"}`:                                   "400 unsupported_parameter ($ref)",
		`{"$ref":"#/$defs/b"}`:                                               "400 invalid_value ($ref)",
		`{"enum":["a"],"minLength":1}`:                                       "400 unsupported_parameter (minLength)",
		`{"enum":[]}`:                                                        "400 invalid_value (enum)",
		`{"enum":["a"],"type":"null"}`:                                       "400 invalid_value (enum)",
		`{"type":"text"}`:                                                    "400 invalid_value (type)",
		`{"type":"string","minLength":3,"maxLength":2}`:                      "400 invalid_value (maxLength)",
		`{"type":"number","minimum":"1"}`:                                    "400 invalid_type (minimum)",
		`{"type":"integer","minimum":2,"maximum":1}`:                         "400 invalid_value",
		`{"type":"integer","exclusiveMinimum":1,"exclusiveMaximum":2}`:       "400 invalid_value",
		`{"type":"object","required":["a"],"additionalProperties":false}`:    "400 invalid_value",
		`{"properties":{"a":{"$ref":"#"}},"required":["a"],"type":"object"}`: "400 invalid_value",
		`{"type":"object","properties":{"a":7}}`:                             "400 invalid_type (properties.a)",
		`{"type":"array","items":[{}]}`:                                      "400 unsupported_parameter (items)",
		`false`:                                                              "400 invalid_value",
		`7`:                                                                  "400 invalid_type",
	} {
		if _, err := compile(schema); err == nil || !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("%s: got %v, want %s", schema, err, want)
		}
	}
}

func TestMaskEqualsWhatEachTokenCouldDo(t *testing.T) {
	g, err := compile(`{"type":"object","properties":{"name":{"type":"string","maxLength":6},"tags":{"type":"array","items":{"enum":["x","xy"]}},"n":{"type":"integer","maximum":120}},"required":["n"]}`)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		m := NewMatcher(g, words)
		for !m.Done() {
			logits := make([]float32, words.size)
			m.Constrain(logits)
			var allowed []int
			for id := range logits {
				want := false
				if id == theEnd {
					want = m.Complete()
				} else {
					probe := Matcher{grammar: g, words: words, now: m.now}
					want = probe.Accept([]byte(piece(id)))
				}
				if got := logits[id] == 0; got != want {
					t.Fatalf("token %d is let through: %t, want %t", id, got, want)
				}
				if want && id != theEnd {
					allowed = append(allowed, id)
				}
			}
			m.Accept([]byte(piece(allowed[rng.IntN(len(allowed))])))
		}
	}
}

func ExampleMatcher() {
	v, _ := dialect.Parse([]byte(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`))
	m := NewMatcher(Schema(v), words)
	for _, token := range []string{"Sure", "{\"", "city", "\": ", "\"Paris", "\"}"} {
		fmt.Println(token, m.Accept([]byte(token)), m.Done())
	}
	// Output:
	// Sure false false
	// {" true false
	// city true false
	// ":  true false
	// "Paris true false
	// "} true true
}
