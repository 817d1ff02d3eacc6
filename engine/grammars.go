package engine

import (
	"net/http"
	"sync"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/constrain"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/tokenizer"
)

const (
	maxGrammars    = 32       // schemas that are kept, compiled and with their masks
	maxSchemaBytes = 64 << 10 // of one schema
)

// grammars are the schemas that answers are held to. Clients ask with the same one
// again and again, so that its masks are mostly there.
type grammars struct {
	tokenizer *tokenizer.Tokenizer
	tokens    int

	once   sync.Once
	words  *constrain.Vocabulary // made when it is needed first
	mu     sync.Mutex
	object *constrain.Grammar
	known  map[string]*constrain.Grammar
}

// matcher returns what holds one answer to the format that a request asks for, or
// nil if it asks for none.
func (g *grammars) matcher(f dialect.Format) (*constrain.Matcher, *api.Error) {
	if !f.JSON {
		return nil, nil
	}
	grammar, err := g.grammar(f)
	if err != nil {
		return nil, err
	}
	return constrain.NewMatcher(grammar, g.vocabulary()), nil
}

func (g *grammars) vocabulary() *constrain.Vocabulary {
	g.once.Do(func() {
		g.words = constrain.NewVocabulary(g.tokens, g.tokenizer.Piece, g.tokenizer.IsEnd)
	})
	return g.words
}

// caller returns what reads the calls of one answer and holds them to the tools that a
// request has, in the form in which the model writes them.
func (g *grammars) caller(r *dialect.Request, form *chat.CallForm) (*caller, *api.Error) {
	calls, between := callsOf(r, form)
	key := []byte("calls")
	size := 0
	for i, c := range calls {
		key = append(append(key, 0), c.Before...)
		if c.Arguments == nil {
			continue
		}
		key = append(append(key, 0), c.Arguments.Raw()...)
		if i%len(form.Heads) == 0 {
			size += len(c.Arguments.Raw())
		}
		if size > maxSchemaBytes {
			c.Arguments.Fail(dialect.CodeInvalidValue, "the schemas of the tools up to %s have %d bytes; %d are allowed", c.Arguments.Param(), size, maxSchemaBytes)
			return nil, c.Arguments.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	grammar, err := g.keep(string(append(append(key, 0), between...)), func() (*constrain.Grammar, *api.Error) {
		grammar := constrain.Calls(form.Mark, calls, between)
		for _, c := range calls {
			if c.Arguments != nil && c.Arguments.Err() != nil {
				return nil, c.Arguments.Err()
			}
		}
		return grammar, nil
	})
	names := make([]string, 0, len(r.Tools))
	for _, t := range r.Tools {
		names = append(names, t.Name)
	}
	return &caller{
		form: form, openings: form.Openings(names), grammar: grammar, words: g.vocabulary(),
		stops: r.Stop, must: r.ToolUse.Must,
	}, err
}

// keep returns the grammar of that key, compiled now or before. g.mu is held.
func (g *grammars) keep(key string, compile func() (*constrain.Grammar, *api.Error)) (*constrain.Grammar, *api.Error) {
	if grammar, ok := g.known[key]; ok {
		return grammar, nil
	}
	grammar, err := compile()
	if err != nil {
		return nil, err
	}
	if g.known == nil || len(g.known) >= maxGrammars {
		g.known = map[string]*constrain.Grammar{}
	}
	g.known[key] = grammar
	return grammar, nil
}

func (g *grammars) grammar(f dialect.Format) (*constrain.Grammar, *api.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.Schema == nil {
		if g.object == nil {
			g.object = constrain.Object()
		}
		return g.object, nil
	}
	key := string(f.Schema.Raw())
	if len(key) > maxSchemaBytes {
		f.Schema.Fail(dialect.CodeInvalidValue, "%s has %d bytes; %d are allowed", f.Schema.Param(), len(key), maxSchemaBytes)
		return nil, f.Schema.Err()
	}
	return g.keep(key, func() (*constrain.Grammar, *api.Error) {
		return constrain.Schema(*f.Schema), f.Schema.Err()
	})
}

// errNoToken: a vocabulary without single bytes may have no token that may follow.
var errNoToken = &api.Error{
	Status: http.StatusInternalServerError, Code: "format_unreachable", Finish: api.FinishError,
	Message: "the model's vocabulary has no token with which its answer could go on in the format that was asked for",
}
