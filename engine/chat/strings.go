package chat

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// stringMethods are the methods of Python's str that chat templates use, with Python's meaning.
// The interpreter has its own of these names, some of which mean something else: its split counts
// parts where Python counts cuts, its replace does nothing without a count.
var stringMethods = map[string]func(self string, a arguments) (any, error){
	"strip":  func(s string, a arguments) (any, error) { return strings.TrimFunc(s, a.cutset(0)), nil },
	"lstrip": func(s string, a arguments) (any, error) { return strings.TrimLeftFunc(s, a.cutset(0)), nil },
	"rstrip": func(s string, a arguments) (any, error) { return strings.TrimRightFunc(s, a.cutset(0)), nil },

	"split": func(s string, a arguments) (any, error) { return split(s, a) },
	"rsplit": func(s string, a arguments) (any, error) {
		if a.int(1, "maxsplit", -1) < 0 {
			return split(s, a)
		}
		return nil, errors.New("rsplit with maxsplit is not supported")
	},
	"splitlines": func(s string, a arguments) (any, error) { return sequenceOf(splitLines(s)...), a.atMost(0) },
	"partition": func(s string, a arguments) (any, error) {
		if before, after, ok := strings.Cut(s, a.string(0)); ok {
			return sequenceOf(before, a.string(0), after), nil
		}
		return sequenceOf(s, "", ""), nil
	},
	"join": func(s string, a arguments) (any, error) {
		var parts []string
		a.at(0).Iterate(func(_, _ int, part, _ *exec.Value) bool {
			parts = append(parts, part.String())
			return true
		}, func() {})
		return strings.Join(parts, s), nil
	},
	"replace": func(s string, a arguments) (any, error) {
		return strings.Replace(s, a.string(0), a.string(1), a.int(2, "count", -1)), nil
	},

	"startswith":   func(s string, a arguments) (any, error) { return a.any(0, s, strings.HasPrefix), a.atMost(1) },
	"endswith":     func(s string, a arguments) (any, error) { return a.any(0, s, strings.HasSuffix), a.atMost(1) },
	"removeprefix": func(s string, a arguments) (any, error) { return strings.TrimPrefix(s, a.string(0)), nil },
	"removesuffix": func(s string, a arguments) (any, error) { return strings.TrimSuffix(s, a.string(0)), nil },
	"find":         func(s string, a arguments) (any, error) { return index(s, strings.Index(s, a.string(0))), a.atMost(1) },
	"rfind": func(s string, a arguments) (any, error) {
		return index(s, strings.LastIndex(s, a.string(0))), a.atMost(1)
	},
	"count": func(s string, a arguments) (any, error) { return strings.Count(s, a.string(0)), a.atMost(1) },

	"upper":      func(s string, a arguments) (any, error) { return strings.ToUpper(s), nil },
	"lower":      func(s string, a arguments) (any, error) { return strings.ToLower(s), nil },
	"title":      func(s string, a arguments) (any, error) { return title(s), nil },
	"capitalize": func(s string, a arguments) (any, error) { return capitalize(s), nil },
	"isspace":    func(s string, a arguments) (any, error) { return all(s, unicode.IsSpace), nil },
	"isdigit":    func(s string, a arguments) (any, error) { return all(s, unicode.IsDigit), nil },
	"isalpha":    func(s string, a arguments) (any, error) { return all(s, unicode.IsLetter), nil },
}

// arguments are those of a method call.
type arguments struct{ *exec.VarArgs }

// at returns an argument by its place, or nil as a value.
func (a arguments) at(i int) *exec.Value {
	if i < len(a.Args) {
		return a.Args[i]
	}
	return exec.AsValue(nil)
}

func (a arguments) string(i int) string { return a.at(i).String() }

func (a arguments) int(i int, name string, missing int) int {
	v := a.at(i)
	if v.IsNil() {
		v = a.GetKeywordArgument(name, missing)
	}
	return v.Integer()
}

// any says whether is holds for a string, or for one of a list's.
func (a arguments) any(i int, s string, is func(s, part string) bool) bool {
	v := a.at(i)
	if v.IsString() {
		return is(s, v.String())
	}
	found := false
	v.Iterate(func(_, _ int, part, _ *exec.Value) bool {
		found = found || is(s, part.String())
		return true
	}, func() {})
	return found
}

// cutset returns the set of characters that an argument names: white space without one.
func (a arguments) cutset(i int) func(rune) bool {
	if a.at(i).IsNil() {
		return unicode.IsSpace
	}
	set := a.string(i)
	return func(r rune) bool { return strings.ContainsRune(set, r) }
}

func (a arguments) atMost(n int) error {
	if len(a.Args) > n {
		return fmt.Errorf("no more than %d arguments are supported", n)
	}
	return nil
}

// methods returns stringMethods as the interpreter wants them.
func methods() *exec.MethodSet[string] {
	set := make(map[string]exec.Method[string])
	for name, method := range stringMethods {
		set[name] = func(self string, _ *exec.Value, a *exec.VarArgs) (any, error) {
			return method(self, arguments{a})
		}
	}
	return exec.NewMethodSet(set)
}

// sequence is a list whose last element is at -1 even where it is the only one, which is not so for
// the interpreter's own lists.
type sequence []any

// GetItem implements exec.ItemGetter.
func (s sequence) GetItem(key any) (*exec.Value, bool) {
	i, ok := key.(int)
	if i < 0 {
		i += len(s)
	}
	if !ok || i < 0 || i >= len(s) {
		return exec.AsValue(nil), false
	}
	return exec.ToValue(s[i]), true
}

func sequenceOf(parts ...string) sequence {
	out := make(sequence, len(parts))
	for i, part := range parts {
		out[i] = part
	}
	return out
}

func split(s string, a arguments) (sequence, error) {
	cuts := a.int(1, "maxsplit", -1)
	if sep := a.at(0); !sep.IsNil() {
		if sep.String() == "" {
			return nil, errors.New("empty separator")
		}
		if cuts < 0 {
			return sequenceOf(strings.Split(s, sep.String())...), nil
		}
		return sequenceOf(strings.SplitN(s, sep.String(), cuts+1)...), nil
	}
	out := sequence{}
	for s = strings.TrimLeftFunc(s, unicode.IsSpace); s != ""; s = strings.TrimLeftFunc(s, unicode.IsSpace) {
		end := strings.IndexFunc(s, unicode.IsSpace)
		if end < 0 {
			end = len(s)
		}
		if cuts >= 0 && len(out) == cuts {
			end = len(s)
		}
		out = append(out, s[:end])
		s = s[end:]
	}
	return out, nil
}

func splitLines(s string) []string {
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// index returns a place in bytes as one in characters.
func index(s string, at int) int {
	if at < 0 {
		return at
	}
	return utf8.RuneCountInString(s[:at])
}

func title(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		first := !inside
		inside = unicode.IsLetter(r)
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToTitle(s[:n]) + strings.ToLower(s[n:])
}

func all(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}
