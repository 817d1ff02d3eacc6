package tokenizer

import (
	"fmt"
	"slices"
)

// metadata is what a tokenizer reads of a model file.
type metadata interface {
	String(key string) (string, bool)
	Uint(key string) (uint64, bool)
	Bool(key string) (bool, bool)
	Strings(key string) ([]string, bool)
	Ints(key string) ([]int64, bool)
	Floats(key string) ([]float64, bool)
}

const (
	keyModel    = "tokenizer.ggml.model"
	keyPre      = "tokenizer.ggml.pre"
	keyTokens   = "tokenizer.ggml.tokens"
	keyKinds    = "tokenizer.ggml.token_type"
	keyScores   = "tokenizer.ggml.scores"
	keyMerges   = "tokenizer.ggml.merges"
	keyAddBOS   = "tokenizer.ggml.add_bos_token"
	keyAddSpace = "tokenizer.ggml.add_space_prefix"

	modelBPE = "gpt2"
	modelSPM = "llama"
)

// kind is a token's type as GGUF numbers it.
type kind uint8

const (
	kindNormal      kind = 1
	kindUnknown     kind = 2
	kindControl     kind = 3
	kindUserDefined kind = 4
	kindUnused      kind = 5
	kindByte        kind = 6
)

// control says that a token is a marker: no text becomes it unless special tokens are asked for.
func (k kind) control() bool { return k == kindControl || k == kindUnknown }

// vocabulary is a model's tokens.
type vocabulary struct {
	texts  []string // as the file writes them
	kinds  []kind
	ids    map[string]int32 // the tokens that text is made of: no control tokens, no byte tokens
	ends   map[int32]bool
	bos    int32
	eos    int32
	addBOS bool
}

func readVocabulary(m metadata, model string) (vocabulary, error) {
	var v vocabulary
	if model != modelBPE && model != modelSPM {
		return v, fmt.Errorf("%s is %q; supported are %q and %q", keyModel, model, modelBPE, modelSPM)
	}
	texts, ok := m.Strings(keyTokens)
	if !ok || len(texts) == 0 {
		return v, fmt.Errorf("%s is missing: the file has no vocabulary", keyTokens)
	}
	v.texts, v.kinds = texts, make([]kind, len(texts))
	kinds, ok := m.Ints(keyKinds)
	if ok && len(kinds) < len(texts) {
		return v, fmt.Errorf("%s has %d entries for %d tokens", keyKinds, len(kinds), len(texts))
	}
	for i := range v.kinds {
		v.kinds[i] = kindNormal
		if !ok {
			continue
		}
		if kinds[i] < 0 || kinds[i] > int64(kindByte) {
			return v, fmt.Errorf("%s[%d] is %d, which is no token type", keyKinds, i, kinds[i])
		}
		v.kinds[i] = kind(kinds[i])
	}
	v.readEnds(m)
	v.ids = make(map[string]int32, len(texts))
	for i, text := range texts {
		if k := v.kinds[i]; !k.control() && k != kindByte {
			v.ids[text] = int32(i)
		}
	}
	v.addBOS = model == modelSPM
	if pre, _ := m.String(keyPre); model == modelBPE {
		v.addBOS = preTokenizers[pre].addBOS
	}
	if add, ok := m.Bool(keyAddBOS); ok {
		v.addBOS = add
	}
	return v, nil
}

// token returns the token that a metadata key names, or -1.
func (v *vocabulary) token(m metadata, key string) int32 {
	id, ok := m.Uint("tokenizer.ggml." + key)
	if !ok || id >= uint64(len(v.texts)) {
		return -1
	}
	return int32(id)
}

// endTexts are how models write the tokens that end a turn. Files name one or two of them by
// metadata; models use the others all the same.
var endTexts = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>",
	"</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
	"<eos>", "<turn|>", "<｜end▁of▁sentence｜>",
	// Code models go on with the next file where they should stop.
	"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>",
	"<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
}

// readEnds collects the tokens that end a turn. They are control tokens even where the file
// says otherwise, so that nobody can end a turn by writing them.
func (v *vocabulary) readEnds(m metadata) {
	v.bos, v.eos = v.token(m, "bos_token_id"), v.token(m, "eos_token_id")
	v.ends = make(map[int32]bool)
	for _, key := range []string{
		"eos_token_id", "eot_token_id", "eom_token_id",
		"fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id",
	} {
		if id := v.token(m, key); id >= 0 {
			v.ends[id] = true
		}
	}
	for i, text := range v.texts {
		if len(text) > 0 && (text[0] == '<' || text[0] == '[' || text[0] == '_') && slices.Contains(endTexts, text) {
			v.ends[int32(i)] = true
			v.kinds[i] = kindControl
		}
	}
}
