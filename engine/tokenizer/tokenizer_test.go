package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// decode joins the tokens' bytes, without the space that the SentencePiece kind puts in front.
func decode(t *Tokenizer, ids []int32) string {
	var b bytes.Buffer
	for _, id := range ids {
		b.Write(t.SpecialPiece(id))
	}
	if e, ok := t.encoder.(*spm); ok && e.addSpace {
		return strings.TrimPrefix(b.String(), " ")
	}
	return b.String()
}

// lacks says whether text has a byte that no token of a byte-level vocabulary can write.
// The default model's lacks six control characters and the first bytes of two unused planes.
func lacks(t *Tokenizer, text string) bool {
	e, ok := t.encoder.(*bpe)
	if !ok {
		return false
	}
	for i := range len(text) {
		if e.bytes[text[i]] >= e.tokens {
			return true
		}
	}
	return false
}

func FuzzDecodingGivesTheEncodedTextBack(f *testing.F) {
	for _, text := range []string{
		"", " ", "  two  spaces  ", "Hello, wörld! 你好 👩‍💻\r\n\t<|im_end|> <s> 12345", "a\u2581b", "\x00\x7f",
	} {
		f.Add(text)
	}
	vocabularies := make(map[string]*Tokenizer)
	for _, name := range []string{"smollm", "llama-bpe", "default", "spm"} {
		vocabularies[name] = openVocabulary(f, name)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		for name, tok := range vocabularies {
			want := text
			if name == "spm" {
				want = strings.ReplaceAll(text, spmSpace, " ") // the one character that it cannot tell
			}
			ids := tok.Encode(text, false)
			if lacks(tok, text) {
				continue
			}
			if got := decode(tok, ids); got != want {
				t.Errorf("%s: %q became %q by way of %v", name, text, got, ids)
			}
			if i := slices.IndexFunc(ids, tok.IsControl); i >= 0 {
				t.Errorf("%s: %q became the control token %d", name, text, ids[i])
			}
		}
	})
}

func TestABytePieceThatIsNoCharacterAlone(t *testing.T) {
	tok := openVocabulary(t, "smollm")
	ids := tok.Encode("\U0001F9A9", false)
	if len(ids) < 2 {
		t.Fatalf("%v: another character is needed to test this", ids)
	}
	if utf8.Valid(tok.Piece(ids[0])) {
		t.Errorf("the first piece %q is a whole character", tok.Piece(ids[0]))
	}
}

func TestOnlyTrustedSegmentsHoldSpecialTokens(t *testing.T) {
	tok := openVocabulary(t, "smollm")
	start, end := tok.Encode("<|im_start|>", true)[0], tok.Encode("<|im_end|>", true)[0]
	count := func(ids []int32) (n int) {
		for _, id := range ids {
			if tok.IsControl(id) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name     string
		segments []Segment
		special  int
	}{
		{"template alone", []Segment{{"<|im_start|>user\n", true}, {"hi", false}, {"<|im_end|>\n", true}}, 2},
		{"look-alike in a message", []Segment{{"<|im_start|>", true}, {"<|im_end|>", false}, {"<|im_end|>", true}}, 2},
		{"trusted text in two segments", []Segment{{"<|im_", true}, {"", false}, {"end|>", true}}, 1},
		{"half of it in a message", []Segment{{"<|im_", true}, {"end|>", false}}, 0},
		{"the other half in a message", []Segment{{"<|im_", false}, {"end|>", true}}, 0},
		{"the middle in a message", []Segment{{"<|im_", true}, {"end", false}, {"|>", true}}, 0},
	} {
		if got := count(tok.EncodeSegments(c.segments)); got != c.special {
			t.Errorf("%s: %d special tokens, want %d", c.name, got, c.special)
		}
	}
	joined := tok.EncodeSegments([]Segment{{"<|im_start|>Hel", true}, {"lo wor", false}, {"ld<|im_end|>", true}})
	want := slices.Concat([]int32{start}, tok.Encode("Hello world", false), []int32{end})
	if !slices.Equal(joined, want) {
		t.Errorf("words over borders: got %v, want %v", joined, want)
	}
}

func TestTheFileSaysWhatBeginsAndEndsAText(t *testing.T) {
	tok := openVocabulary(t, "smollm")
	if tok.Vocab() != 49152 || tok.BOS() != 1 || tok.EOS() != 2 || tok.AddBOS() {
		t.Errorf("vocabulary %d, bos %d, eos %d, add bos %v", tok.Vocab(), tok.BOS(), tok.EOS(), tok.AddBOS())
	}
	for id := range int32(tok.Vocab()) { // <|endoftext|>, <|im_end|>, <reponame>: as llama.cpp has it
		if want := id == 0 || id == 2 || id == 4; tok.IsEnd(id) != want {
			t.Errorf("token %d %q ends a turn: %v", id, tok.texts[id], !want)
		}
	}
	if got := tok.Piece(2); len(got) != 0 {
		t.Errorf("an answer would show %q", got)
	}
	if got := string(tok.SpecialPiece(2)); got != "<|im_end|>" {
		t.Errorf("<|im_end|> is written %q", got)
	}
	if id, ok := tok.Special("<|im_start|>"); !ok || id != 1 {
		t.Errorf("<|im_start|> is %d, %v", id, ok)
	}
	if spm := openVocabulary(t, "spm"); !spm.AddBOS() || spm.BOS() != 1 || !spm.IsEnd(2) {
		t.Errorf("spm: add bos %v, bos %d, </s> ends: %v", spm.AddBOS(), spm.BOS(), spm.IsEnd(2))
	}
	for _, id := range []int32{-1, 49152} {
		if tok.Piece(id) != nil || tok.IsControl(id) || tok.IsEnd(id) {
			t.Errorf("token %d, which does not exist, has a piece or a meaning", id)
		}
	}
}

func TestScanningAndHeapMergeAlike(t *testing.T) {
	tok := openVocabulary(t, "smollm")
	b := tok.encoder.(*bpe)
	rng := rand.New(rand.NewPCG(1, 2))
	letters := "aaaabcdeeinorst "
	for range 2000 {
		word := make([]byte, 2+rng.IntN(shortWord-2))
		for i := range word {
			word[i] = letters[rng.IntN(len(letters))]
		}
		short := b.word(nil, string(word), new(scratch))
		long := b.longWord(nil, string(word), new(scratch))
		if !slices.Equal(short, long) {
			t.Fatalf("%q: %v by scanning, %v by heap", word, short, long)
		}
	}
}

func TestManyGoroutinesShareATokenizer(t *testing.T) {
	tok := openVocabulary(t, "smollm")
	texts := []string{"Hello world", strings.Repeat("xyz", 100), "<|im_start|>a", "你好"}
	want := make([][]int32, len(texts))
	for i, text := range texts {
		want[i] = tok.Encode(text, true)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 200 {
				i := n % len(texts)
				if got := tok.Encode(texts[i], true); !slices.Equal(got, want[i]) {
					t.Errorf("%q: got %v, want %v", texts[i], got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkLoad(b *testing.B) {
	f := openModel(b)
	for b.Loop() {
		if _, err := New(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"smollm", "llama-bpe", "spm"} {
		b.Run(name, func(b *testing.B) {
			tok := openVocabulary(b, name)
			text := string(readReference(b, "documents/austen.txt"))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text, false)
			}
		})
	}
}

// without is a file's metadata with one key gone.
type without struct {
	*gguf.File
	key string
}

func (w without) Strings(key string) ([]string, bool) {
	if key == w.key {
		return nil, false
	}
	return w.File.Strings(key)
}

func (w without) Floats(key string) ([]float64, bool) {
	if key == w.key {
		return nil, false
	}
	return w.File.Floats(key)
}

func (w without) String(key string) (string, bool) {
	if key == w.key {
		return "wordpiece", true
	}
	return w.File.String(key)
}

func TestAFileThatLacksAPartOfItsVocabularyIsRefusedByKey(t *testing.T) {
	spm, err := gguf.Open(filepath.Join(reference, "spm.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer spm.Close()
	for _, c := range []struct {
		file *gguf.File
		key  string
	}{
		{openModel(t), keyTokens}, {openModel(t), keyMerges}, {openModel(t), keyModel}, {spm, keyTokens}, {spm, keyScores}, {spm, keyModel},
	} {
		if _, err := build(without{c.file, c.key}); err == nil || !strings.Contains(err.Error(), c.key) {
			t.Errorf("without %s: %v", c.key, err)
		}
	}
}
