// Package measure holds the benchmarks of the store on the keys and values that the default model
// computes. They stand apart from its tests, which need no model.
package measure

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/model"
	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/engine/tokenizer"
)

// realAgent is what the default model makes of 2,000 tokens of English: the benchmarks measure
// on it, since made-up keys and values compress and copy differently.
type realAgent struct {
	geometry store.Geometry
	tokens   []int32
	blocks   [][]byte
}

const realTokens = 2000

// repository finds the folder of go.mod.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("cannot find go.mod in any folder above")
		}
		dir = filepath.Dir(dir)
	}
}

var computeOnce sync.Once
var computed realAgent

func computeReal(t testing.TB) realAgent {
	t.Helper()
	computeOnce.Do(func() { computed = prefillText(t) })
	if computed.tokens == nil {
		t.Fatal("the model computed nothing")
	}
	return computed
}

func prefillText(t testing.TB) realAgent {
	path := filepath.Join(repository(t), "models", "smollm2-135m-instruct-q4_1.gguf")
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatalf("%v: run: make model", err)
	}
	defer f.Close()
	words, err := tokenizer.New(f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tokens := words.Encode(readText(t), false)
	if len(tokens) < realTokens {
		t.Fatalf("the text has only %d tokens", len(tokens))
	}
	tokens = tokens[:realTokens]
	count := (realTokens + model.BlockTokens - 1) / model.BlockTokens
	kv, err := m.NewPool(count)
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	rows, table := make([]model.Row, realTokens), make([]int32, count)
	for i := range table {
		table[i] = int32(i)
	}
	for i, token := range tokens {
		rows[i] = model.Row{Token: token, Position: i, Blocks: table}
	}
	if err := m.Forward(kv, rows); err != nil {
		t.Fatal(err)
	}
	c := m.Config()
	a := realAgent{tokens: tokens, geometry: store.Geometry{
		Layers: c.Layers, KVDim: c.KVHeads * c.HeadDim, BlockTokens: model.BlockTokens, BlockBytes: kv.BlockBytes(),
	}}
	for i := range count {
		a.blocks = append(a.blocks, append([]byte(nil), kv.Block(int32(i))...))
	}
	return a
}

// readText returns English prose and prose of the law, as the repository has it.
func readText(t testing.TB) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repository(t), "engine/testdata/reference/documents/*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, path := range append(paths, filepath.Join(repository(t), "LICENSE")) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}
