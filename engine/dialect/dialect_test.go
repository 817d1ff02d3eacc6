package dialect

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func parse(t *testing.T, body string) Object {
	t.Helper()
	v, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return v.Object()
}

func TestReadersReturnWhatTheBodySays(t *testing.T) {
	o := parse(t, ` { "b" : true, "i":-3, "f":0.5, "s":"a\"b\u00e9", "plain":"x", "l":[1, "two" ], "o":{"n":null,"k":1}, "dup":1, "dup":2} `)
	get := func(name string) Value {
		v, ok := o.Get(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		return v
	}
	if got := get("b").Bool(); !got {
		t.Error("b is false")
	}
	if got := get("i").Int(-5, 5); got != -3 {
		t.Errorf("i is %d", got)
	}
	if got := get("f").Float(0, 1); got != 0.5 {
		t.Errorf("f is %g", got)
	}
	if got := get("s").String(); got != `a"bé` {
		t.Errorf("s is %q", got)
	}
	if got := get("plain").String(); got != "x" {
		t.Errorf("plain is %q", got)
	}
	if l := get("l").Elements(); len(l) != 2 || l[0].Int(0, 9) != 1 || l[1].String() != "two" {
		t.Errorf("l is %v", l)
	}
	if got := get("dup").Int(0, 9); got != 2 {
		t.Errorf("dup is %d, want the last", got)
	}
	inner := get("o").Object()
	if _, ok := inner.Get("n"); ok {
		t.Error("a null counts as present")
	}
	if v, _ := inner.Get("k"); v.Param() != "o.k" {
		t.Errorf("the inner field is called %q", v.Param())
	}
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}

func TestTheFirstFaultIsTheOneTold(t *testing.T) {
	o := parse(t, `{"list":[{"x":"no number"}],"y":3.5}`)
	list, _ := o.Get("list")
	x, _ := list.Elements()[0].Object().Get("x")
	x.Int(0, 1)
	y, _ := o.Get("y")
	y.Int(0, 9)
	err := o.Err()
	if err == nil || err.Code != CodeInvalidType || err.Param != "list[0].x" || err.Status != 400 {
		t.Fatalf("got %v", err)
	}
	if want := "list[0].x must be a number, not a string"; err.Message != want {
		t.Errorf("got %q, want %q", err.Message, want)
	}
}

func TestNumbersOutsideTheirRangeAreRefused(t *testing.T) {
	for body, code := range map[string]string{
		`{"n":-1}`: CodeInvalidValue, `{"n":11}`: CodeInvalidValue, `{"n":99999999999999999999}`: CodeInvalidValue,
		`{"n":1.0}`: CodeInvalidType, `{"n":1e1}`: CodeInvalidType, `{"n":"1"}`: CodeInvalidType, `{"n":true}`: CodeInvalidType,
	} {
		o := parse(t, body)
		v, _ := o.Get("n")
		v.Int(0, 10)
		if err := o.Err(); err == nil || err.Code != code || err.Param != "n" {
			t.Errorf("%s: got %v, want %s", body, err, code)
		}
	}
	o := parse(t, `{"n":1e999}`)
	v, _ := o.Get("n")
	v.Float(0, 10)
	if err := o.Err(); err == nil || err.Code != CodeInvalidValue {
		t.Errorf("1e999: got %v", err)
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for _, body := range []string{"", " ", "{", "{}{}", "nul", "{\"a\":\"\xff\"}", `{"a":"` + "\x01" + `"}`, deep} {
		if _, err := Parse([]byte(body)); err == nil || err.Code != CodeInvalidJSON || err.Status != 400 {
			t.Errorf("%.20q: got %v", body, err)
		}
	}
	brackets := `{"a":"` + strings.Repeat("[", 1000) + `\"` + strings.Repeat("{", 1000) + `"}`
	if _, err := Parse([]byte(brackets)); err != nil {
		t.Errorf("brackets in a string count as depth: %v", err)
	}
}

func TestUnknownFieldIsNamedButNotEchoedWhole(t *testing.T) {
	o := parse(t, `{"`+strings.Repeat("x", 5000)+`":1}`)
	o.Allow("model")
	if err := o.Err(); err == nil || err.Code != CodeUnknown || len(err.Message) > 200 || !strings.HasPrefix(err.Param, "xxx") {
		t.Fatalf("got %v", err)
	}
}

func FuzzStringsSurviveWriting(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\n\r\t\x00\x1f\x7f", "é😀\u2028<>&", "\xff\xc3", "\ufffd", "x\xe2\x82"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		out := AppendString(nil, s)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %s: %v", s, out, err)
		}
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s)) // each bad byte becomes U+FFFD
		}
		if got != want {
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}
