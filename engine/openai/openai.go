// Package openai speaks OpenAI's API: it turns the bodies of /v1/chat/completions
// and /v1/completions into requests and writes answers, streams and the list of
// models as OpenAI does. What a body asks for is done or refused, never ignored;
// the table in parameters.go says which.
//
// Read: openai, parameters, messages, tools, encoder, calls, models.
package openai

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/dialect"
)

const (
	maxChoices   = 128
	maxBiases    = 1024
	maxStops     = 16
	maxStopBytes = 1024
	maxTopK      = 1 << 20
)

// Chat reads the body of POST /v1/chat/completions.
func Chat(body []byte) (*dialect.Request, *api.Error) {
	o, r, err := begin(body, chatParameters)
	if err != nil {
		return nil, err
	}
	if v, ok := o.Need("messages"); ok {
		r.Messages = messages(v)
	}
	readLength(o, r, "max_tokens", "max_completion_tokens")
	readLogprobs(o, r)
	readCommon(o, r)
	readFormat(o, r)
	readTools(o, r)
	return r, o.Err()
}

// Completion reads the body of POST /v1/completions.
func Completion(body []byte) (*dialect.Request, *api.Error) {
	o, r, err := begin(body, completionParameters)
	if err != nil {
		return nil, err
	}
	if v, ok := o.Need("prompt"); ok {
		readPrompt(v, r)
	}
	readLength(o, r, "max_tokens")
	if v, ok := o.Get("logprobs"); ok { // a number here: how many of the likeliest
		r.Logprobs, r.TopLogprobs = true, int(v.Int(0, 5))
	}
	readCommon(o, r)
	return r, o.Err()
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
	return o, &dialect.Request{Temperature: 1, TopP: 1, Seed: rand.Uint64()}, o.Err()
}

// readCommon reads what both routes share.
func readCommon(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Need("model"); ok {
		r.Model = v.String()
	}
	if v, ok := o.Get("temperature"); ok {
		r.Temperature = v.Float(0, 2)
	}
	if v, ok := o.Get("top_k"); ok {
		r.TopK = max(0, int(v.Int(-1, maxTopK))) // -1 is off too, as for vLLM
	}
	if v, ok := o.Get("top_p"); ok {
		if r.TopP = v.Float(0, 1); r.TopP == 0 {
			r.TopP, r.TopK = 1, 1 // no mass but the likeliest token's
		}
	}
	if v, ok := o.Get("min_p"); ok {
		r.MinP = v.Float(0, 1)
	}
	if v, ok := o.Get("seed"); ok {
		r.Seed = uint64(v.Int(math.MinInt64, math.MaxInt64))
	}
	if v, ok := o.Get("n"); ok {
		r.N = int(v.Int(1, maxChoices))
	}
	readOdds(o, r)
	if v, ok := o.Get("stop"); ok {
		r.Stop = stops(v)
	}
	if v, ok := o.Get("stream"); ok {
		r.Stream = v.Bool()
	}
	if v, ok := o.Get("stream_options"); ok {
		readStreamOptions(v, r)
	}
}

// readLength reads the names under which a client may bound the answer. Given
// twice, both must say the same.
func readLength(o dialect.Object, r *dialect.Request, names ...string) {
	r.MaxTokensParam = names[0]
	for _, name := range names {
		v, ok := o.Get(name)
		if !ok {
			continue
		}
		n := int(v.Int(1, math.MaxInt32))
		if r.MaxTokens != 0 && n != r.MaxTokens {
			v.Fail(dialect.CodeInvalidValue, "%s and %s contradict each other: give one of them", r.MaxTokensParam, name)
		}
		r.MaxTokens, r.MaxTokensParam = n, name
	}
}

// readOdds reads what changes the odds of single tokens.
func readOdds(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Get("presence_penalty"); ok {
		r.PresencePenalty = v.Float(-2, 2)
	}
	if v, ok := o.Get("frequency_penalty"); ok {
		r.FrequencyPenalty = v.Float(-2, 2)
	}
	v, ok := o.Get("logit_bias")
	if !ok {
		return
	}
	biases := v.Object()
	names := biases.Names()
	if len(names) > maxBiases {
		v.Fail(dialect.CodeInvalidValue, "logit_bias must name at most %d tokens, not %d", maxBiases, len(names))
		return
	}
	for _, name := range names {
		bias, ok := biases.Get(name)
		if !ok {
			continue
		}
		token, err := strconv.ParseUint(name, 10, 31)
		if err != nil {
			bias.Fail(dialect.CodeInvalidValue, "%s: the names in logit_bias must be token ids", bias.Param())
			return
		}
		if r.LogitBias == nil {
			r.LogitBias = map[int32]float32{}
		}
		r.LogitBias[int32(token)] = float32(bias.Float(-100, 100))
	}
}

// readLogprobs reads what a chat asks for; a completion has a number instead.
func readLogprobs(o dialect.Object, r *dialect.Request) {
	if v, ok := o.Get("logprobs"); ok {
		r.Logprobs = v.Bool()
	}
	if v, ok := o.Get("top_logprobs"); ok {
		if r.TopLogprobs = int(v.Int(0, 20)); r.TopLogprobs > 0 && !r.Logprobs {
			v.Fail(dialect.CodeInvalidValue, "top_logprobs is only allowed with logprobs set to true")
		}
	}
}

// readFormat reads what the answer must look like.
func readFormat(o dialect.Object, r *dialect.Request) {
	v, ok := o.Get("response_format")
	if !ok {
		return
	}
	format := v.Object()
	kind, ok := format.Need("type")
	if !ok {
		return
	}
	switch kind.String() {
	case "text":
		format.Allow("type")
		return
	case "json_object":
		format.Allow("type")
	case "json_schema":
		format.Allow("type", "json_schema")
		if s, ok := format.Need("json_schema"); ok {
			r.Format.Schema = schema(s.Object())
		}
	case "grammar", "python":
		kind.Unsupported("the format " + kind.String())
	default:
		kind.Fail(dialect.CodeInvalidValue, "%s must be text, json_object or json_schema", kind.Param())
	}
	r.Format.JSON = true
	if stop, ok := o.Get("stop"); ok { // it would end an answer that is no JSON yet
		stop.Unsupported("stop together with a response_format of JSON")
	}
}

// schema reads a named schema. It is kept in any case, as strict asks for.
func schema(o dialect.Object) *dialect.Value {
	o.Allow("name", "description", "schema", "strict")
	if name, ok := o.Need("name"); ok {
		_ = name.String()
	}
	if text, ok := o.Get("description"); ok {
		_ = text.String()
	}
	if strict, ok := o.Get("strict"); ok {
		_ = strict.Bool()
	}
	s, ok := o.Need("schema")
	if !ok {
		return nil
	}
	s.Object()
	return &s
}

func stops(v dialect.Value) []string {
	values := []dialect.Value{v}
	switch v.Kind() {
	case dialect.KindString:
	case dialect.KindArray:
		values = v.Elements()
	default:
		v.Fail(dialect.CodeInvalidType, "stop must be a string or an array of strings, not %s", v.Kind())
		return nil
	}
	if len(values) > maxStops {
		v.Fail(dialect.CodeInvalidValue, "stop must hold at most %d strings, not %d", maxStops, len(values))
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

func readStreamOptions(v dialect.Value, r *dialect.Request) {
	o := v.Object()
	o.Allow("include_usage", "include_obfuscation")
	if !r.Stream {
		v.Fail(dialect.CodeInvalidValue, "stream_options is only allowed with stream set to true")
	}
	if u, ok := o.Get("include_usage"); ok {
		r.IncludeUsage = u.Bool()
	}
	if u, ok := o.Get("include_obfuscation"); ok && u.Bool() {
		u.Unsupported(u.Param())
	}
}

// readPrompt reads a string, an array of token ids, or an array that holds one of
// either.
func readPrompt(v dialect.Value, r *dialect.Request) {
	switch v.Kind() {
	case dialect.KindString:
		if r.Prompt = v.String(); r.Prompt == "" {
			v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
		}
		return
	case dialect.KindArray:
	default:
		v.Fail(dialect.CodeInvalidType, "%s must be a string or an array, not %s", v.Param(), v.Kind())
		return
	}
	elements := v.Elements()
	switch {
	case len(elements) == 0:
		v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
	case elements[0].Kind() == dialect.KindNumber:
		r.Tokens = make([]int32, len(elements))
		for i, e := range elements {
			r.Tokens[i] = int32(e.Int(0, math.MaxInt32))
		}
	case len(elements) > 1:
		v.Unsupported("an array of several prompts")
	case elements[0].Kind() == dialect.KindArray && len(elements[0].Elements()) > 0 && elements[0].Elements()[0].Kind() != dialect.KindNumber:
		elements[0].Fail(dialect.CodeInvalidType, "%s must be a string or an array of token ids", elements[0].Param())
	default:
		readPrompt(elements[0], r)
	}
}
