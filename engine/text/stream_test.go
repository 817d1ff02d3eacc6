package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// answer is what the stream must emit in all, told slowly: the text grows by one byte at a time
// until one of the stop strings stands at its end.
func answer(bytes []byte, stops []string) (text string, stopped bool) {
	whole := string([]rune(string(bytes)))
	for end := range len(whole) + 1 {
		longest := ""
		for _, stop := range stops {
			if stop != "" && strings.HasSuffix(whole[:end], stop) && len(stop) > len(longest) {
				longest = stop
			}
		}
		if longest != "" {
			return whole[:end-len(longest)], true
		}
	}
	return whole, false
}

// run pushes the bytes in pieces of the given sizes, repeated.
func run(t *testing.T, bytes []byte, stops []string, sizes []byte) (text string, stopped bool) {
	t.Helper()
	s := NewStream(stops)
	want, _ := answer(bytes, stops)
	var b strings.Builder
	for i := 0; len(bytes) > 0 && !stopped; i++ {
		n := 1
		if len(sizes) > 0 {
			n = min(int(sizes[i%len(sizes)]%16), len(bytes))
		}
		if n == 0 {
			n = 1
		}
		var out string
		out, stopped = s.Push(bytes[:n])
		bytes = bytes[n:]
		if !utf8.ValidString(out) {
			t.Fatalf("%q is cut inside a character", out)
		}
		b.WriteString(out)
		if !strings.HasPrefix(want, b.String()) {
			t.Fatalf("emitted %q, which does not begin %q", b.String(), want)
		}
	}
	rest := s.Flush()
	b.WriteString(rest)
	if stopped && rest != "" {
		t.Fatalf("emitted %q after the stop", rest)
	}
	if out, again := s.Push([]byte("more")); out != "" || !again {
		t.Fatalf("emitted %q after the end", out)
	}
	return b.String(), s.Matched() != ""
}

func TestStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		stops  []string
		emits  []string // by piece, then the flush
	}{
		{"text passes through", []string{"Hello", " world"}, nil, []string{"Hello", " world", ""}},
		{"a character waits until it is whole", []string{"a\xf0\x9f", "\x98", "\x80b"}, nil, []string{"a", "", "😀b", ""}},
		{"a cut character at the end", []string{"a\xe4\xbd"}, nil, []string{"a", "\ufffd\ufffd"}},
		{"bytes that are no character", []string{"\xffa", "\x80", "\xe4b"}, nil, []string{"\ufffda", "\ufffd", "\ufffdb", ""}},
		{"a stop string in one piece", []string{"one STOP two"}, []string{"STOP"}, []string{"one ", ""}},
		{"a stop string over pieces", []string{"one S", "TO", "P two"}, []string{"STOP"}, []string{"one ", "", "", ""}},
		{"what only began like a stop string", []string{"one S", "TO", "RE"}, []string{"STOP"}, []string{"one ", "", "STORE", ""}},
		{"a stop string that begins again", []string{"aa", "ab", "x"}, []string{"aab"}, []string{"", "a", "", ""}},
		{"held text comes at the end", []string{"x\n"}, []string{"\n\n"}, []string{"x", "\n"}},
		{"the stop string that ends first", []string{"abcd"}, []string{"abcd", "bc"}, []string{"a", ""}},
		{"the longer of two that end together", []string{"xabc"}, []string{"bc", "abc"}, []string{"x", ""}},
		{"a stop string inside a character's bytes", []string{"\xe4\xbd", "\xa0!"}, []string{"你"}, []string{"", "", ""}},
		{"a stop string that is no text", []string{"a\xff", "b"}, []string{"\xfe"}, []string{"a", "", ""}},
		{"an empty stop string", []string{"ab"}, []string{""}, []string{"ab", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewStream(c.stops)
			for i, piece := range append(c.pieces, "") {
				var got string
				if i < len(c.pieces) {
					got, _ = s.Push([]byte(piece))
				} else {
					got = s.Flush()
				}
				if got != c.emits[i] {
					t.Errorf("step %d emitted %q, want %q", i, got, c.emits[i])
				}
			}
		})
	}
}

func TestTheStreamSaysWhichStopStringMatched(t *testing.T) {
	s := NewStream([]string{"never", "END"})
	s.Push([]byte("the E"))
	if _, stopped := s.Push([]byte("ND.")); !stopped || s.Matched() != "END" {
		t.Errorf("stopped %v by %q", stopped, s.Matched())
	}
}

func FuzzTheTextDoesNotDependOnThePieces(f *testing.F) {
	f.Add([]byte("Hello \xf0\x9f\x98\x80 STOP"), "STOP", "\xf0\x9f", []byte{1, 3, 2})
	f.Add([]byte("aaabaabaaab"), "aab", "baaa", []byte{2})
	f.Add([]byte("\xe4\xe4\xbd\xa0\xff"), "\ufffd你", "", []byte{1})
	f.Fuzz(func(t *testing.T, bytes []byte, a, b string, sizes []byte) {
		if len(bytes) > 512 || len(a) > 64 || len(b) > 64 {
			return
		}
		stops := []string{string([]rune(a)), string([]rune(b))}
		wantText, wantStop := answer(bytes, stops)
		text, stopped := run(t, bytes, stops, sizes)
		if text != wantText || stopped != wantStop {
			t.Errorf("%q with stops %q in pieces %v: %q, %v; want %q, %v", bytes, stops, sizes, text, stopped, wantText, wantStop)
		}
	})
}
