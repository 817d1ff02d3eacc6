package tokenizer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// preTokenizer is how a byte-level vocabulary wants its text cut into words.
type preTokenizer struct {
	next         func(*splitter, string) int
	ignoreMerges bool // a word that is a token is that token, whatever the merges make of it
	addBOS       bool // unless the file says otherwise
}

// preTokenizers are the names that a file may give, as converters write them.
var preTokenizers = map[string]preTokenizer{
	"default": {next: nextDefault},
	"gpt-2":   {next: nextGPT2},
	"phi-2":   {next: nextGPT2},
	"olmo":    {next: nextGPT2},

	"smollm":    {next: nextSmolLM},
	"starcoder": {next: nextSmolLM},
	"refact":    {next: nextSmolLM},
	"command-r": {next: nextSmolLM},

	"llama-bpe": {next: nextLlama3, ignoreMerges: true, addBOS: true},
	"llama3":    {next: nextLlama3, ignoreMerges: true, addBOS: true},
	"llama-v3":  {next: nextLlama3, ignoreMerges: true, addBOS: true},
	"falcon3":   {next: nextLlama3, ignoreMerges: true, addBOS: true},
	"smaug-bpe": {next: nextLlama3},

	"qwen2":            {next: nextQwen2},
	"deepseek-r1-qwen": {next: nextQwen2},
	"megrez":           {next: nextQwen2},
	"stablelm2":        {next: nextQwen2},
}

// findPreTokenizer returns the one that the file names. A file that names none is older than the
// key, and was made for the default one.
func findPreTokenizer(m metadata) (preTokenizer, error) {
	name, ok := m.String(keyPre)
	if !ok || name == "" {
		name = "default"
	}
	p, ok := preTokenizers[name]
	if !ok {
		known := slices.Sorted(maps.Keys(preTokenizers))
		return p, fmt.Errorf("%s is %q, a pre-tokenizer that is not supported; supported are %s",
			keyPre, name, strings.Join(known, ", "))
	}
	return p, nil
}
