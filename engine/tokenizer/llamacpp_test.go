package tokenizer

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
)

type referenceText struct {
	Name    string
	Text    string
	Hex     string
	Plain   map[string][]int32
	Special map[string][]int32
}

func (r *referenceText) input(t *testing.T) string {
	if r.Hex == "" {
		return r.Text
	}
	b, err := hex.DecodeString(r.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTokenIDsAreThoseOfLlamaCPP(t *testing.T) {
	var texts []referenceText
	if err := json.Unmarshal(readReference(t, "tokens.json"), &texts); err != nil {
		t.Fatal(err)
	}
	if len(texts) < 60 {
		t.Fatalf("the reference has %d texts only", len(texts))
	}
	for _, name := range []string{"smollm", "llama-bpe", "qwen2", "gpt-2", "default", "spm"} {
		t.Run(name, func(t *testing.T) {
			tok := openVocabulary(t, name)
			for _, r := range texts {
				input := r.input(t)
				if got, want := tok.Encode(input, false), r.Plain[name]; !slices.Equal(got, want) {
					t.Errorf("%s: special tokens as text:\n got %v\nwant %v", r.Name, got, want)
				}
				if got, want := tok.Encode(input, true), r.Special[name]; !slices.Equal(got, want) {
					t.Errorf("%s: special tokens parsed:\n got %v\nwant %v", r.Name, got, want)
				}
			}
		})
	}
}
