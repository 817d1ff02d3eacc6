package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/tokenizer"
)

const reference = "../testdata/reference"

// model is the default model file and its tokenizer.
var model = sync.OnceValues(func() (*gguf.File, error) {
	return gguf.Open(filepath.Join("..", "..", "models", "smollm2-135m-instruct-q4_1.gguf"))
})

func openModel(tb testing.TB) (*gguf.File, *tokenizer.Tokenizer) {
	tb.Helper()
	f, err := model()
	if err != nil {
		tb.Fatalf("%v; run: make model", err)
	}
	tok, err := tokenizer.New(f)
	if err != nil {
		tb.Fatal(err)
	}
	return f, tok
}

func parse(tb testing.TB, source string) *Template {
	tb.Helper()
	_, tok := openModel(tb)
	t, err := Parse(source, tok)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func readReference(tb testing.TB, name string, v any) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(reference, name))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatal(err)
	}
}

func text(segments []tokenizer.Segment) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString(s.Text)
	}
	return b.String()
}

// special returns the special tokens of a prompt.
func special(segments []tokenizer.Segment) string {
	return strings.Join(trusted(segments), " ")
}
