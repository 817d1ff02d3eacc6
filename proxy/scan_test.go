package proxy

import (
	"encoding/json"
	"testing"
)

func TestScanReadsTheTopLevelOnly(t *testing.T) {
	for body, want := range map[string]asked{
		`{"max_tokens":7}`: {most: 7},
		` { "n" : 3 , "max_completion_tokens" : 12 } `:            {most: 12, choices: 3},
		`{"max_tokens":7,"max_completion_tokens":9}`:              {most: 9},
		`{"messages":[{"max_tokens":5,"n":[{}]}],"n":2}`:          {choices: 2},
		`{"a":"\"max_tokens\":1,\\","max_tokens":4}`:              {most: 4},
		`{"a":{"b":"}\\\"]"},"x":null,"y":-1.5e3,"max_tokens":4}`: {most: 4},
		`{"max_tokens":1.5,"n":"2"}`:                              {},
		`{"max_tokens":-3}`:                                       {},
		`{"max_tokens":99999999999999999999999}`:                  {most: mostTokens},
		`{"max_tokens":5,"broken`:                                 {most: 5},
		`{"a":{"model":"x"},"model" : "m-1" ,"max_tokens":5}`:     {most: 5, model: "m-1"},
		`{"model":7,"max_tokens":5}`:                              {most: 5},
		`["max_tokens",5]`:                                        {},
		``:                                                        {},
		"{\"a\":1 \"max_tokens\":5}":                              {},
	} {
		if got := scan([]byte(body)); got != want {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	body := []byte(`{"model":"default","messages":[{"role":"user","content":"Hello \"you\"."}],"stream":true,"max_tokens":77,"n":2}`)
	if n := testing.AllocsPerRun(100, func() {
		if scan(body).completion(5) != 154 {
			t.Fatal("it read something else")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzScan holds the scanner against encoding/json on what is JSON, and wants it to
// end on what is not.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"max_tokens":7}`, `{"a":[1,{"b":"]}\\\""}],"n":3}`, `{"n":1e3}`, `{`, `{"\u006e":2,"n":1}`, `{"n":2,"n":3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := scan(body)
		if got.completion(9) < 0 {
			t.Fatalf("%q: %+v", body, got)
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(body, &all) != nil {
			return
		}
		var n int64
		if json.Unmarshal(all["n"], &n) == nil && n > 0 && n < mostChoices && got.choices < n {
			var escaped bool
			for i := range body {
				escaped = escaped || body[i] == '\\'
			}
			if !escaped { // a name that is written otherwise is not seen
				t.Fatalf("%q: n is %d, scanned %d", body, n, got.choices)
			}
		}
	})
}
