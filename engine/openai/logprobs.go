package openai

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// leastLogprob stands for tokens that are as good as impossible, as OpenAI has it.
const leastLogprob = -9999.0

// logprobs appends the log-probabilities of a piece's tokens, or null.
func (e *Encoder) logprobs(dst []byte, choice int, tokens []dialect.Token) []byte {
	switch {
	case !e.told:
		return append(dst, "null"...)
	case e.chat:
		return appendChatLogprobs(dst, tokens)
	}
	return e.completionLogprobs(dst, choice, tokens)
}

// appendChatLogprobs has the exact bytes of tokens that are no whole characters.
func appendChatLogprobs(dst []byte, tokens []dialect.Token) []byte {
	dst = append(dst, `{"content":[`...)
	for i, t := range tokens {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendToken(dst, t)
		dst = append(dst, `,"top_logprobs":[`...)
		for j, other := range t.Top {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendToken(dst, other), '}')
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, `],"refusal":null}`...)
}

func appendToken(dst []byte, t dialect.Token) []byte {
	dst = append(dst, `{"token":`...)
	dst = dialect.AppendString(dst, string(t.Bytes))
	dst = append(dst, `,"logprob":`...)
	dst = appendLogprob(dst, t.Logprob)
	dst = append(dst, `,"bytes":[`...)
	for i, b := range t.Bytes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(b), 10)
	}
	return append(dst, ']')
}

func appendLogprob(dst []byte, l float64) []byte {
	if math.IsNaN(l) || l < leastLogprob {
		l = leastLogprob
	}
	return strconv.AppendFloat(dst, min(l, 0), 'g', 10, 64)
}

// completionLogprobs appends four lists side by side, one entry a token.
func (e *Encoder) completionLogprobs(dst []byte, choice int, tokens []dialect.Token) []byte {
	list := func(name string, one func(t dialect.Token)) {
		dst = append(dst, name...)
		for i, t := range tokens {
			if i > 0 {
				dst = append(dst, ',')
			}
			one(t)
		}
		dst = append(dst, ']')
	}
	list(`{"tokens":[`, func(t dialect.Token) { dst = dialect.AppendString(dst, string(t.Bytes)) })
	list(`,"token_logprobs":[`, func(t dialect.Token) { dst = appendLogprob(dst, t.Logprob) })
	list(`,"top_logprobs":[`, func(t dialect.Token) { dst = appendTop(dst, t.Top) })
	list(`,"text_offset":[`, func(t dialect.Token) {
		dst = strconv.AppendInt(dst, int64(e.offsets[choice]), 10)
		e.offsets[choice] += utf8.RuneCount(t.Bytes)
	})
	return append(dst, '}')
}

// appendTop appends the likeliest as an object. Of tokens that read the same, as
// parts of characters do, the likeliest counts.
func appendTop(dst []byte, top []dialect.Token) []byte {
	dst = append(dst, '{')
	seen := make([]string, 0, len(top))
next:
	for _, t := range top {
		text := strings.ToValidUTF8(string(t.Bytes), "\ufffd")
		for _, s := range seen {
			if s == text {
				continue next
			}
		}
		if len(seen) > 0 {
			dst = append(dst, ',')
		}
		seen = append(seen, text)
		dst = append(dialect.AppendString(dst, text), ':')
		dst = appendLogprob(dst, t.Logprob)
	}
	return append(dst, '}')
}
