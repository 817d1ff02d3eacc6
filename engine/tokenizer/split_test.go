package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/dlclark/regexp2"
)

// patterns are the pre-tokenizers as the models' authors wrote them: each expression in turn cuts
// the pieces that are there into its matches and what lies between them.
var patterns = map[string][]string{
	"smollm":    {`\p{N}`, gpt2Pattern},
	"gpt-2":     {gpt2Pattern},
	"default":   {`[\p{P}$+<=>^~|]+`, gpt2Pattern, `\p{N}+`, `[0-9][0-9][0-9]`},
	"llama-bpe": {`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
	"qwen2":     {`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
}

const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func compile(tb testing.TB, name string) []*regexp2.Regexp {
	tb.Helper()
	var out []*regexp2.Regexp
	for _, p := range patterns[name] {
		out = append(out, regexp2.MustCompile(p, regexp2.None))
	}
	return out
}

func splitByPatterns(tb testing.TB, expressions []*regexp2.Regexp, text string) []string {
	pieces := []string{text}
	for _, re := range expressions {
		var out []string
		for _, piece := range pieces {
			runes := []rune(piece)
			at := 0
			m, err := re.FindRunesMatch(runes)
			for ; m != nil; m, err = re.FindNextMatch(m) {
				if m.Index > at {
					out = append(out, string(runes[at:m.Index]))
				}
				out = append(out, m.String())
				at = m.Index + m.Length
			}
			if err != nil {
				tb.Fatal(err)
			}
			if at < len(runes) {
				out = append(out, string(runes[at:]))
			}
		}
		pieces = out
	}
	return pieces
}

func splitByHand(name, text string) []string {
	s := splitter{classes: classes(), next: preTokenizers[name].next}
	var out []string
	for text != "" {
		n := s.next(&s, text)
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

func checkSplit(t *testing.T, name string, expressions []*regexp2.Regexp, text string) {
	t.Helper()
	text = replaceInvalid(text)
	newer := func(r rune) bool { return unicode.Is(newerLetters, r) } // regexp2 does not know them either
	if text == "" || strings.ContainsFunc(text, newer) {
		return
	}
	got, want := splitByHand(name, text), splitByPatterns(t, expressions, text)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q\n got %q\nwant %q", name, text, got, want)
	}
}

func TestSplittersDoWhatThePatternsSay(t *testing.T) {
	var texts []referenceText
	if err := json.Unmarshal(readReference(t, "tokens.json"), &texts); err != nil {
		t.Fatal(err)
	}
	// One character of every class that a pattern tells apart, in every order of three, then at random.
	alphabet := []string{" ", "\t", "\n", "\r", "'", "s", "L", "é", "1", "٣", "!", "€"}
	var short []string
	for _, a := range alphabet {
		for _, b := range alphabet {
			for _, c := range alphabet {
				short = append(short, a+b+c)
			}
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		var b strings.Builder
		for range 4 + rng.IntN(8) {
			b.WriteString(alphabet[rng.IntN(len(alphabet))])
		}
		short = append(short, b.String())
	}
	for name := range patterns {
		expressions := compile(t, name)
		for i := range texts {
			checkSplit(t, name, expressions, texts[i].input(t))
		}
		for _, text := range short {
			checkSplit(t, name, expressions, text)
		}
	}
}

func FuzzSplittersDoWhatThePatternsSay(f *testing.F) {
	for _, text := range []string{
		"I'll say 'hello', it's 12345 o'clock!\r\n\r\n  The   end.  \n", "a1'S 'RE\t\t \u00a0x\u3000\n 9٣99 \u0085",
		"  \n\n  \r\n \t7 ...!? \n", "$100+<=>^~|`'s'1", "\U0001F600\u200d\ufe0fé\u0301ǅ",
	} {
		f.Add(text)
	}
	compiled := make(map[string][]*regexp2.Regexp)
	for name := range patterns {
		compiled[name] = compile(f, name)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		for name, expressions := range compiled {
			checkSplit(t, name, expressions, text)
		}
	})
}

func TestAFileWithAnUnknownPreTokenizerIsRefusedByName(t *testing.T) {
	_, err := build(renamed{openModel(t), "tekken"})
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{`"tekken"`, "tokenizer.ggml.pre", "smollm"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
}
