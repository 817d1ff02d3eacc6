package chat

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/nikolalohinski/gonja/v2"
	"github.com/nikolalohinski/gonja/v2/builtins"
	controlstructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// maxSource bounds a template's source. The largest that models come with have some 30 KB, and
// the parser recurses as deep as parentheses nest.
const maxSource = 64 << 10

// What a template may use. Absent are the tags that read other templates (include, import, from,
// extends), blocks, which can call themselves, and functions that make text from nothing or
// differ from call to call.
var (
	allowedTags = []string{"if", "set", "with", "filter", "raw", "do", "break", "continue", "call"}
	// Tags with an end, but set, which may have one; the source's size bounds how deep it nests.
	pairedTags     = []string{"if", "for", "macro", "with", "filter", "call", "generation"}
	allowedFilters = []string{
		"abs", "attr", "batch", "capitalize", "default", "d", "dictsort", "e", "escape", "first", "float",
		"groupby", "indent", "int", "items", "join", "last", "length", "count", "list", "lower", "map", "max",
		"min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "slice",
		"sort", "string", "striptags", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
	}
	allowedGlobals = []string{"cycler", "joiner", "namespace"}
)

// source is a loader of one template, which finds no other.
type source string

func (s source) Read(path string) (io.Reader, error) {
	if path != rootName {
		return nil, fmt.Errorf("a chat template may not read %q", path)
	}
	return strings.NewReader(string(s)), nil
}

func (s source) Resolve(path string) (string, error)    { return path, nil }
func (s source) Inherit(string) (loaders.Loader, error) { return s, nil }

const rootName = "chat template"

// quiet keeps the interpreter's own log off the process's stderr: it would hold parts of prompts.
var quiet = sync.OnceFunc(func() { gonja.SetLoggerOutput(io.Discard) })

// compile parses a template.
func compile(text string) (t *exec.Template, err error) {
	quiet()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the template made its interpreter fail: %v", p)
		}
	}()
	settings := config.New()
	settings.TrimBlocks, settings.LeftStripBlocks = true, true // as transformers has it
	if err := checkNesting(tokens.LexAll(text, settings)); err != nil {
		return nil, err
	}
	t, err = exec.NewTemplate(rootName, settings, source(text), environment())
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // the outer one quotes the whole template
	}
	return t, err
}

// maxNesting bounds brackets in brackets and tags in tags. The parser recurses with each, some
// kilobytes deep, and the end of the goroutine's stack would be the end of the process.
const maxNesting = 100

func checkNesting(stream *tokens.Stream) error {
	brackets, open, begins := 0, 0, false
	for ; !stream.End() && !stream.IsError(); stream.Next() {
		t := stream.Current()
		switch t.Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			brackets++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			brackets--
		case tokens.Name:
			name, ends := strings.CutPrefix(t.Val, "end")
			if !begins || !slices.Contains(pairedTags, name) {
				break
			}
			if open++; ends {
				open -= 2
			}
		}
		if brackets > maxNesting || open > maxNesting {
			return fmt.Errorf("line %d of the template nests more than %d deep", t.Line, maxNesting)
		}
		begins = t.Type == tokens.BlockBegin
	}
	return nil
}

func environment() *exec.Environment {
	filters := map[string]exec.FilterFunction{"tojson": toJSON}
	for _, name := range allowedFilters {
		filters[name], _ = builtins.Filters.Get(name)
	}
	globals := map[string]any{"range": boundedRange}
	for _, name := range allowedGlobals {
		globals[name], _ = builtins.GlobalFunctions.Get(name)
	}
	values := builtins.Methods
	values.Str = methods()
	return &exec.Environment{
		Filters:           exec.NewFilterSet(filters),
		ControlStructures: exec.NewControlStructureSet(tags()),
		Tests:             builtins.Tests,
		Context:           exec.NewContext(globals),
		Methods:           values,
	}
}

func tags() map[string]parser.ControlStructureParser {
	tags := map[string]parser.ControlStructureParser{
		"for":        parseFor,
		"macro":      parseMacro,
		"generation": parseGeneration,
	}
	for _, name := range allowedTags {
		tags[name], _ = controlstructures.All.Get(name)
	}
	return tags
}
