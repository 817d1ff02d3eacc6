package constrain

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/semantic-pod/semantic/engine/dialect"
)

const open, between = "<call>", "\n<call>"

// callsOf compiles a grammar of functions f0, f1, … with those schemas.
func callsOf(t *testing.T, between string, schemas ...string) (*Grammar, error) {
	t.Helper()
	var calls []Call
	for i, s := range schemas {
		c := Call{Before: fmt.Sprintf("f%d(", i), After: ")"}
		if s != "" {
			v, err := dialect.Parse([]byte(s))
			if err != nil {
				t.Fatal(err)
			}
			c.Arguments = &v
		}
		calls = append(calls, c)
	}
	g := Calls(open, calls, between)
	for _, c := range calls {
		if c.Arguments != nil && c.Arguments.Err() != nil {
			return nil, c.Arguments.Err()
		}
	}
	return g, nil
}

func TestEveryCompleteCallValidates(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	schemas := []string{
		`{"type":"object","properties":{"town":{"type":"string","maxLength":4},"days":{"$ref":"#/$defs/days"}},"required":["town"],"$defs":{"days":{"type":"integer","minimum":1,"maximum":7}}}`,
		`{"$ref":"#/$defs/it","$defs":{"it":{"type":"object","properties":{"a":{"enum":["x","y"]}},"additionalProperties":false}}}`,
		"",
	}
	called, several := map[string]int{}, 0
	for _, between := range []string{between, ""} {
		g, err := callsOf(t, between, schemas...)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			answer, ended := write(t, g, rng)
			if !ended {
				continue
			}
			rest, ok := strings.CutPrefix(answer, open)
			if !ok || between == "" && strings.Contains(rest, open+"f") {
				t.Fatalf("%q", answer)
			}
			all := strings.Split(rest, ")\n<call>f")
			several += len(all) - 1
			for i, call := range all {
				call = strings.TrimSuffix(strings.TrimPrefix(call, "f"), ")")
				name, arguments, _ := strings.Cut(call, "(")
				called[name]++
				schema := "{\"maxProperties\":0}"
				if name != "2" {
					schema = schemas[name[0]-'0']
				}
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(arguments))
				if err == nil {
					err = validator(t, schema).Validate(value)
				}
				if err != nil {
					t.Fatalf("call %d of %q: %v", i, answer, err)
				}
			}
		}
	}
	if len(called) != 3 || several == 0 {
		t.Errorf("called: %v; %d times after another", called, several)
	}
}

func TestOneCallEndsTheAnswerWhereNoMoreMayCome(t *testing.T) {
	for _, c := range []struct {
		between, answer string
		complete, done  bool
	}{
		{between, "<call>f0({})", true, false}, {between, "<call>f0({})\n<call>f0({})", true, false}, {between, "<call>f0({})\n<call>", false, false},
		{"", "<call>f0({})", true, true}, {"", "<call>f0({}", false, false},
	} {
		g, err := callsOf(t, c.between, "")
		if err != nil {
			t.Fatal(err)
		}
		m := NewMatcher(g, words)
		if m.Complete() || !m.Accept([]byte(c.answer)) || m.Complete() != c.complete || m.Done() != c.done {
			t.Errorf("%+v: complete %t, done %t", c, m.Complete(), m.Done())
		}
		if c.done && m.Accept([]byte("\n")) {
			t.Errorf("%+v: more is let through", c)
		}
	}
}

func TestCallWithoutAMarkIsTheWholeAnswer(t *testing.T) {
	g := Calls("", []Call{{Before: "f(", After: ")"}, {Before: "g(", After: ")"}}, "")
	for answer, complete := range map[string]bool{"f({})": true, "g({})": true, "f({}": false, "f": false} {
		m := NewMatcher(g, words)
		if m.Complete() || !m.Accept([]byte(answer)) || m.Complete() != complete || m.Done() != complete || complete && m.Accept([]byte("g")) {
			t.Errorf("%q: complete %t, done %t", answer, m.Complete(), m.Done())
		}
	}
	if NewMatcher(g, words).Accept([]byte("h(")) {
		t.Error("h( is let through")
	}
}

func TestManyToolsCanAllBeCalled(t *testing.T) {
	schemas := make([]string, 128)
	g, err := callsOf(t, "", schemas...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range schemas {
		m := NewMatcher(g, words)
		if !m.Accept([]byte(fmt.Sprintf("<call>f%d({})", i))) || !m.Done() {
			t.Errorf("f%d cannot be called", i)
		}
	}
}

func TestArgumentsThatAreNoObjectAreRefused(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"string"}`: "object", `{"type":["object","null"]}`: "object", `{"anyOf":[{"type":"object"},{"type":"array"}]}`: "object", `{}`: "object", `true`: "object",
		`{"type":"object","properties":{"a":{"pattern":"x"}}}`:                                                "pattern",
		`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`:                                  "nested",
		`{"type":"object","properties":{"a":{"type":"string","minLength":5,"maxLength":2}},"required":["a"]}`: "maxLength",
	} {
		if _, err := callsOf(t, "", "", schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", schema, err)
		}
	}
}
