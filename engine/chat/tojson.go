package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// toJSON is the filter as transformers defines it: Python's json.dumps, which parts by ", " and
// ": ", and keeps characters as they are.
func toJSON(_ *exec.Evaluator, in *exec.Value, arguments *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	w := jsonWriter{}
	indent := arguments.GetKeywordArgument("indent", nil)
	if len(arguments.Args) > 0 {
		indent = arguments.Args[0]
	}
	if indent.IsInteger() {
		w.indent = strings.Repeat(" ", min(max(indent.Integer(), 0), 16))
		w.lines = true
	}
	if err := w.write(in.Interface(), 0); err != nil {
		return exec.AsValue(err)
	}
	return exec.AsSafeValue(w.b.String())
}

type jsonWriter struct {
	b      bytes.Buffer
	lines  bool // one element a line
	indent string
}

func (w *jsonWriter) write(v any, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("tojson: nested more than %d deep", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
		return nil
	case *exec.Value:
		return w.write(v.Interface(), depth)
	case *exec.Dict:
		return w.write(*v, depth)
	case exec.Dict:
		return w.object(len(v.Pairs), depth, func(i int) (string, any) { return v.Pairs[i].Key.String(), v.Pairs[i].Value })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		return w.object(len(keys), depth, func(i int) (string, any) { return keys[i], v[keys[i]] })
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice || r.Kind() == reflect.Array {
		return w.list('[', ']', r.Len(), depth, func(i int) error { return w.write(r.Index(i).Interface(), depth+1) })
	}
	return w.scalar(v)
}

func (w *jsonWriter) object(n, depth int, pair func(int) (string, any)) error {
	return w.list('{', '}', n, depth, func(i int) error {
		key, value := pair(i)
		w.quote(key)
		w.b.WriteString(": ")
		return w.write(value, depth+1)
	})
}

func (w *jsonWriter) list(open, end byte, n, depth int, element func(int) error) error {
	w.b.WriteByte(open)
	for i := range n {
		switch {
		case w.lines && i > 0:
			w.b.WriteByte(',')
		case i > 0:
			w.b.WriteString(", ")
		}
		w.line(depth + 1)
		if err := element(i); err != nil {
			return err
		}
	}
	if n > 0 {
		w.line(depth)
	}
	w.b.WriteByte(end)
	return nil
}

func (w *jsonWriter) line(depth int) {
	if w.lines {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat(w.indent, depth))
	}
}

// scalar writes a string, number or boolean.
func (w *jsonWriter) scalar(v any) error {
	if text, ok := v.(string); ok {
		w.quote(text)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("tojson: %w", err)
	}
	w.b.Write(b)
	return nil
}

// quote escapes what JSON must have escaped and nothing else.
func (w *jsonWriter) quote(text string) {
	w.b.WriteByte('"')
	for _, r := range text {
		switch r {
		case '"', '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case '\n':
			w.b.WriteString(`\n`)
		case '\r':
			w.b.WriteString(`\r`)
		case '\t':
			w.b.WriteString(`\t`)
		case '\b':
			w.b.WriteString(`\b`)
		case '\f':
			w.b.WriteString(`\f`)
		default:
			if r < ' ' {
				fmt.Fprintf(&w.b, `\u%04x`, r)
			} else {
				w.b.WriteRune(r)
			}
		}
	}
	w.b.WriteByte('"')
}
