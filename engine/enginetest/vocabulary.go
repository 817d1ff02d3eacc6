package enginetest

import "fmt"

// vocabulary is the number of tokens: the special ones, one for each byte, a few
// merges, and unused ones up to a round number.
const vocabulary = 288

var specialTokens = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

// The ids of the special tokens.
const (
	EndOfText = 0
	Start     = 1
	End       = 2
)

// printableToken says whether the token is printable ASCII.
func printableToken(id int) bool {
	b := id - len(specialTokens)
	return b >= ' ' && b <= '~' || b >= 256 && b < 256+len(merges)
}

var merges = []string{"Ġ t", "h e", "Ġ a", "i n", "Ġt he", "o n", "r e"}

const (
	normalType  = 1
	controlType = 3
	unusedType  = 5
)

// tokenizer adds the metadata of a byte-level BPE tokenizer.
func (w *ggufWriter) tokenizer() {
	var tokens []string
	var types []int32
	add := func(kind int32, texts ...string) {
		for _, text := range texts {
			tokens, types = append(tokens, text), append(types, kind)
		}
	}
	add(controlType, specialTokens...)
	for b := range 256 {
		add(normalType, string(byteRune(byte(b))))
	}
	add(normalType, "Ġt", "he", "Ġa", "in", "Ġthe", "on", "re")
	for len(tokens) < vocabulary {
		add(unusedType, fmt.Sprintf("[UNUSED%d]", len(tokens)))
	}
	w.string("tokenizer.ggml.model", "gpt2")
	w.string("tokenizer.ggml.pre", "smollm")
	w.strings("tokenizer.ggml.tokens", tokens)
	w.ints("tokenizer.ggml.token_type", types)
	w.strings("tokenizer.ggml.merges", merges)
	w.uint("tokenizer.ggml.bos_token_id", Start)
	w.uint("tokenizer.ggml.eos_token_id", End)
	w.uint("tokenizer.ggml.unknown_token_id", EndOfText)
	w.bool("tokenizer.ggml.add_bos_token", false)
}

// byteRune is GPT-2's picture of a byte: itself where it is printable, else a rune
// from 256 on.
func byteRune(b byte) rune {
	printable := func(c int) bool { return c >= '!' && c <= '~' || c >= 0xa1 && c <= 0xac || c >= 0xae && c <= 0xff }
	if printable(int(b)) {
		return rune(b)
	}
	n := rune(256)
	for c := range int(b) {
		if !printable(c) {
			n++
		}
	}
	return n
}
