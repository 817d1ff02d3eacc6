package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/semantic-pod/semantic/api"
)

// maxDepth is how deeply a body may be nested; the APIs need less than ten.
const maxDepth = 64

// The codes of a body that is refused.
const (
	CodeInvalidJSON  = "invalid_json"
	CodeInvalidType  = "invalid_type"
	CodeInvalidValue = "invalid_value"
	CodeMissing      = "missing_required_parameter"
	CodeUnknown      = "unknown_parameter"
	CodeUnsupported  = "unsupported_parameter"
)

// Kind is the type of a JSON value.
type Kind string

// The kinds of JSON values.
const (
	KindNull    Kind = "null"
	KindBoolean Kind = "a boolean"
	KindNumber  Kind = "a number"
	KindString  Kind = "a string"
	KindArray   Kind = "an array"
	KindObject  Kind = "an object"
)

// Value is one JSON value and the place where it stands in the body. Its readers
// note the first fault of the whole body and return a zero value after it, so
// that a decoder asks once at its end.
type Value struct {
	raw   json.RawMessage
	param string // such as messages[0].content
	fault *fault
}

type fault struct{ err *api.Error }

// Parse checks that body is one JSON value, in UTF-8 and not nested absurdly.
func Parse(body []byte) (Value, *api.Error) {
	if !utf8.Valid(body) {
		return Value{}, bad(CodeInvalidJSON, "", "the body is not valid UTF-8")
	}
	if depth(body) > maxDepth {
		return Value{}, bad(CodeInvalidJSON, "", fmt.Sprintf("the body is nested more than %d deep", maxDepth))
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return Value{}, bad(CodeInvalidJSON, "", "the body is not valid JSON: "+err.Error())
	}
	return Value{raw: bytes.TrimSpace(raw), fault: &fault{}}, nil
}

// depth returns how deeply brackets nest outside of strings.
func depth(body []byte) int {
	deepest, now, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func bad(code, param, message string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: code, Param: param, Message: message}
}

// Param says where the value stands in the body.
func (v Value) Param() string { return v.param }

// Raw returns the value as the body has it.
func (v Value) Raw() []byte { return v.raw }

// Err returns the first fault of the whole body that has been met.
func (v Value) Err() *api.Error { return v.fault.err }

// Fail notes a fault of this value.
func (v Value) Fail(code, format string, args ...any) {
	if v.fault.err == nil {
		v.fault.err = bad(code, v.param, fmt.Sprintf(format, args...))
	}
}

// Unsupported notes that the API knows the value and this engine does not obey it.
func (v Value) Unsupported(what string) {
	v.Fail(CodeUnsupported, "%s is not supported by this engine; leave it out", what)
}

// Kind returns the value's type.
func (v Value) Kind() Kind {
	switch v.raw[0] {
	case 'n':
		return KindNull
	case 't', 'f':
		return KindBoolean
	case '"':
		return KindString
	case '[':
		return KindArray
	case '{':
		return KindObject
	}
	return KindNumber
}

// is says whether the value has the kind, and notes a fault if not.
func (v Value) is(want Kind) bool {
	if got := v.Kind(); got != want {
		v.Fail(CodeInvalidType, "%s must be %s, not %s", v.name(), want, got)
		return false
	}
	return true
}

func (v Value) name() string {
	if v.param == "" {
		return "the body"
	}
	return v.param
}

// clip keeps what a client wrote from filling an answer.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Bool reads true or false.
func (v Value) Bool() bool { return v.is(KindBoolean) && v.raw[0] == 't' }

// String reads a string.
func (v Value) String() string {
	if !v.is(KindString) {
		return ""
	}
	if plain := v.raw[1 : len(v.raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain)
	}
	var s string
	_ = json.Unmarshal(v.raw, &s) // it was parsed before: cannot fail
	return s
}

// Int reads a whole number between low and high.
func (v Value) Int(low, high int64) int64 {
	if !v.is(KindNumber) {
		return 0
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	switch {
	case err != nil && bytes.ContainsAny(v.raw, ".eE"):
		v.Fail(CodeInvalidType, "%s must be a whole number, not %s", v.name(), clip(string(v.raw)))
	case err != nil || n < low || n > high:
		v.Fail(CodeInvalidValue, "%s must be between %d and %d, not %s", v.name(), low, high, clip(string(v.raw)))
	default:
		return n
	}
	return 0
}

// Float reads a number between low and high.
func (v Value) Float(low, high float64) float64 {
	if !v.is(KindNumber) {
		return 0
	}
	f, err := strconv.ParseFloat(string(v.raw), 64)
	if err != nil || f < low || f > high || math.IsNaN(f) {
		v.Fail(CodeInvalidValue, "%s must be between %g and %g, not %s", v.name(), low, high, clip(string(v.raw)))
		return 0
	}
	return f
}

// Elements reads an array.
func (v Value) Elements() []Value {
	if !v.is(KindArray) {
		return nil
	}
	var raws []json.RawMessage
	_ = json.Unmarshal(v.raw, &raws) // it was parsed before: cannot fail
	elements := make([]Value, len(raws))
	for i, raw := range raws {
		elements[i] = Value{raw: raw, param: v.param + "[" + strconv.Itoa(i) + "]", fault: v.fault}
	}
	return elements
}
