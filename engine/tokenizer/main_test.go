package tokenizer

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
)

const reference = "../testdata/reference"

// model is the default model file.
var model = sync.OnceValues(func() (*gguf.File, error) {
	return gguf.Open(filepath.Join("..", "..", "models", "smollm2-135m-instruct-q4_1.gguf"))
})

func openModel(tb testing.TB) *gguf.File {
	tb.Helper()
	f, err := model()
	if err != nil {
		tb.Fatalf("%v; run: make model", err)
	}
	return f
}

// renamed is a file's metadata with another pre-tokenizer.
type renamed struct {
	*gguf.File
	pre string
}

func (r renamed) String(key string) (string, bool) {
	if key == keyPre {
		return r.pre, true
	}
	return r.File.String(key)
}

// openVocabulary returns one of the vocabularies of the reference: a pre-tokenizer's name on the
// default model's tokens, or "spm".
func openVocabulary(tb testing.TB, name string) *Tokenizer {
	tb.Helper()
	var m metadata
	if name == "spm" {
		f, err := gguf.Open(filepath.Join(reference, "spm.gguf"))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { f.Close() })
		m = f
	} else {
		m = renamed{openModel(tb), name}
	}
	t, err := build(m)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func readReference(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(reference, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
