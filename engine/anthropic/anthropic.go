// Package anthropic speaks Anthropic's API: it turns the bodies of /v1/messages and
// /v1/messages/count_tokens into requests and writes answers and streams as
// Anthropic does. What a body asks for is done or refused, never ignored; the table
// in parameters.go says which.
//
// Read: anthropic, parameters, messages, tools, encoder.
package anthropic

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

const (
	maxStops     = 16
	maxStopBytes = 1024
	maxTopK      = 1 << 20
)

// Messages reads the body of POST /v1/messages.
func Messages(body []byte) (*dialect.Request, *api.Error) {
	o, r, err := begin(body, messagesParameters)
	if err != nil {
		return nil, err
	}
	readPrompt(o, r)
	r.MaxTokensParam = "max_tokens"
	if v, ok := o.Need("max_tokens"); ok {
		r.MaxTokens = int(v.Int(1, math.MaxInt32))
	}
	readSampling(o, r)
	if v, ok := o.Get("stop_sequences"); ok {
		r.Stop = stops(v)
	}
	if v, ok := o.Get("stream"); ok {
		r.Stream = v.Bool()
	}
	return r, o.Err()
}

// CountTokens reads the body of POST /v1/messages/count_tokens.
func CountTokens(body []byte) (*dialect.Request, *api.Error) {
	o, r, err := begin(body, countParameters)
	if err != nil {
		return nil, err
	}
	readPrompt(o, r)
	return r, o.Err()
}

// AppendCount appends the answer to it.
func AppendCount(dst []byte, tokens int) []byte {
	dst = append(dst, `{"input_tokens":`...)
	return append(strconv.AppendInt(dst, int64(tokens), 10), '}')
}

// begin parses the body and holds every field of it against the table.
func begin(body []byte, table map[string]rule) (dialect.Object, *dialect.Request, *api.Error) {
	v, err := dialect.Parse(body)
	if err != nil {
		return dialect.Object{}, nil, err
	}
	o := v.Object()
	for _, name := range o.Names() {
		obey, known := table[name]
		if !known {
			o.Unknown(name)
		} else if v, ok := o.Get(name); ok {
			obey(v)
		}
	}
	return o, &dialect.Request{Dialect: api.Anthropic, Temperature: 1, TopP: 1, Seed: rand.Uint64()}, o.Err()
}

// readPrompt reads what both routes share.
func readPrompt(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Need("model"); ok {
		r.Model = v.String()
	}
	if v, ok := o.Get("system"); ok {
		if text := texts(v, true); text != "" {
			r.Messages = append(r.Messages, dialect.Message{Role: "system", Content: text})
		}
	}
	if v, ok := o.Need("messages"); ok {
		r.Messages = append(r.Messages, messages(v)...)
	}
	readTools(o, r)
}

func readSampling(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Get("temperature"); ok {
		r.Temperature = v.Float(0, 1)
	}
	if v, ok := o.Get("top_k"); ok {
		r.TopK = int(v.Int(0, maxTopK))
	}
	if v, ok := o.Get("top_p"); ok {
		if r.TopP = v.Float(0, 1); r.TopP == 0 {
			r.TopP, r.TopK = 1, 1 // no mass but the likeliest token's
		}
	}
}

func stops(v dialect.Value) []string {
	values := v.Elements()
	if len(values) > maxStops {
		v.Fail(dialect.CodeInvalidValue, "stop_sequences must hold at most %d strings, not %d", maxStops, len(values))
		return nil
	}
	out := make([]string, len(values))
	for i, s := range values {
		out[i] = s.String()
		if len(out[i]) == 0 || len(out[i]) > maxStopBytes {
			s.Fail(dialect.CodeInvalidValue, "%s must have 1 to %d bytes, not %d", s.Param(), maxStopBytes, len(out[i]))
		}
	}
	return out
}
