package openai

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

// Encoder writes one request's answer, whole or as the events of a stream. What
// is the same in each of its chunks is built once.
type Encoder struct {
	chat  bool
	usage bool // the stream ends with the counts

	choices int
	told    bool  // with the tokens' log-probabilities
	offsets []int // of a completion's choices: characters told so far

	id, model, fingerprint string
	created                int64

	chunk  []byte // of a stream, up to its choices
	suffix []byte // of a stream, after its choices

	ids [][]string // of the calls of each choice
}

// NewChat returns the encoder of a chat completion.
func NewChat(model, fingerprint string, r *dialect.Request) *Encoder {
	return newEncoder("chatcmpl-", true, model, fingerprint, r)
}

// NewCompletion returns the encoder of a plain completion.
func NewCompletion(model, fingerprint string, r *dialect.Request) *Encoder {
	return newEncoder("cmpl-", false, model, fingerprint, r)
}

func newEncoder(prefix string, chat bool, model, fingerprint string, r *dialect.Request) *Encoder {
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	e := &Encoder{
		chat: chat, usage: r.IncludeUsage, choices: max(1, r.N), told: r.Logprobs, id: prefix + hex.EncodeToString(random[:]),
		model: model, fingerprint: fingerprint, created: time.Now().Unix(),
	}
	if e.told {
		e.offsets = make([]int, e.choices)
	}
	if r.Stream {
		e.chunk = append(e.head([]byte("data: "), "chat.completion.chunk"), `,"choices":[`...)
		e.suffix = []byte("]}\n\n")
		if e.usage {
			e.suffix = []byte("],\"usage\":null}\n\n")
		}
	}
	return e
}

// head appends the fields that stand in every object of an answer.
func (e *Encoder) head(dst []byte, object string) []byte {
	if !e.chat {
		object = "text_completion"
	}
	dst = append(dst, `{"id":"`...)
	dst = append(dst, e.id...)
	dst = append(dst, `","object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, e.created, 10)
	dst = append(dst, `,"model":`...)
	dst = dialect.AppendString(dst, e.model)
	dst = append(dst, `,"system_fingerprint":`...)
	return dialect.AppendString(dst, e.fingerprint)
}

// Answer appends the whole answer as one JSON object.
func (e *Encoder) Answer(dst []byte, choices []dialect.Choice, u dialect.Usage) []byte {
	dst = e.head(dst, "chat.completion")
	dst = append(dst, `,"choices":[`...)
	for i, c := range choices {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.choice(dst, i, c)
	}
	dst = append(dst, `],"usage":`...)
	dst = appendUsage(dst, u)
	return append(dst, '}')
}

func (e *Encoder) choice(dst []byte, i int, c dialect.Choice) []byte {
	dst = appendIndex(dst, i)
	if e.chat {
		dst = append(dst, `,"message":{"role":"assistant","content":`...)
		dst = e.appendSaid(dst, i, c.Part)
		dst = append(dst, `,"refusal":null}`...)
	} else {
		dst = append(dst, `,"text":`...)
		dst = dialect.AppendString(dst, c.Text)
	}
	dst = e.logprobs(append(dst, `,"logprobs":`...), i, c.Tokens)
	return appendReason(dst, c.Finish)
}

func appendIndex(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, `{"index":`...), int64(i), 10)
}

// appendReason ends a choice with why it ended.
func appendReason(dst []byte, f api.Finish) []byte {
	dst = append(dst, `,"finish_reason":"`...)
	dst = append(dst, reason(f)...)
	return append(dst, `"}`...)
}

// Open appends the events that begin a stream: a chat tells who speaks, once for
// each choice.
func (e *Encoder) Open(dst []byte, _ dialect.Usage) []byte {
	for i := 0; e.chat && i < e.choices; i++ {
		dst = appendIndex(append(dst, e.chunk...), i)
		dst = append(dst, `,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`...)
		dst = append(dst, e.suffix...)
	}
	return dst
}

// Delta appends the event of a piece of one choice.
func (e *Encoder) Delta(dst []byte, choice int, p dialect.Part) []byte {
	if p.Text != "" || len(p.Tokens) > 0 {
		dst = e.textDelta(dst, choice, p)
	}
	for _, c := range p.Calls {
		dst = e.callDelta(dst, choice, c)
	}
	return dst
}

func (e *Encoder) textDelta(dst []byte, choice int, p dialect.Part) []byte {
	dst = appendIndex(append(dst, e.chunk...), choice)
	if e.chat {
		dst = append(dst, `,"delta":{"content":`...)
		dst = dialect.AppendString(dst, p.Text)
		dst = append(dst, '}')
	} else {
		dst = append(dst, `,"text":`...)
		dst = dialect.AppendString(dst, p.Text)
	}
	dst = e.logprobs(append(dst, `,"logprobs":`...), choice, p.Tokens)
	dst = append(dst, `,"finish_reason":null}`...)
	return append(dst, e.suffix...)
}

// End appends the event that says why one choice ended.
func (e *Encoder) End(dst []byte, choice int, end dialect.Ending) []byte {
	dst = appendIndex(append(dst, e.chunk...), choice)
	if e.chat {
		dst = append(dst, `,"delta":{},"logprobs":null`...)
	} else {
		dst = append(dst, `,"text":"","logprobs":null`...)
	}
	return append(appendReason(dst, end.Finish), e.suffix...)
}

// Close appends the counts, if they were asked for.
func (e *Encoder) Close(dst []byte, u dialect.Usage) []byte {
	if !e.usage {
		return dst
	}
	dst = append(dst, e.chunk...)
	dst = append(dst, `],"usage":`...)
	dst = appendUsage(dst, u)
	return append(dst, "}\n\n"...)
}

// Terminal is the event after which a client knows that the stream is whole.
func (e *Encoder) Terminal() string { return "data: [DONE]\n\n" }

func appendUsage(dst []byte, u dialect.Usage) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Prompt), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Completion), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Prompt+u.Completion), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Cached), 10)
	return append(dst, `}}`...)
}

// reason is OpenAI's word for a good end.
func reason(f api.Finish) string {
	switch f {
	case api.FinishLength:
		return "length"
	case api.FinishToolCalls:
		return "tool_calls"
	}
	return "stop"
}
