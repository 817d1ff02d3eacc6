package openai

import "github.com/semantic-pod/semantic/engine/dialect"

// rule holds a parameter's value against what this engine does with it, and notes
// a fault if that is not what the client asked for.
type rule func(dialect.Value)

// The tables say what becomes of every parameter that OpenAI's API has, and of the
// extensions of ours. Any other name is refused as unknown.
//
//	enforced     obeyed, and checked where it is read
//	harmless…    checked for its type; it says nothing about the answer
//	only…        the one value that asks for nothing is taken, any other refused
//	unsupported  refused
var chatParameters = merge(commonParameters, map[string]rule{
	"messages":              enforced,
	"max_completion_tokens": enforced,
	"logprobs":              enforced,
	"top_logprobs":          enforced,

	"metadata":               harmlessMap,
	"prompt_cache_key":       harmlessText,
	"prompt_cache_retention": harmlessText,
	"safety_identifier":      harmlessText,
	"service_tier":           onlyText("auto", "default"),
	"store":                  onlyFalse,

	"modalities":          onlyTexts,
	"response_format":     enforced,
	"tool_choice":         enforced,
	"function_call":       onlyText("none"),
	"tools":               enforced,
	"functions":           unsupported,
	"parallel_tool_calls": enforced,
	"audio":               unsupported,
	"prediction":          unsupported,
	"reasoning_effort":    unsupported,
	"verbosity":           unsupported,
	"web_search_options":  unsupported,
	"moderation":          unsupported,
})

var completionParameters = merge(commonParameters, map[string]rule{
	"prompt":   enforced,
	"logprobs": enforced,

	"best_of": onlyInt(1, 20, 1),
	"echo":    onlyFalse,
	"suffix":  onlyText(""),
})

var commonParameters = map[string]rule{
	"model":          enforced,
	"max_tokens":     enforced,
	"temperature":    enforced,
	"top_p":          enforced,
	"top_k":          enforced, // an extension, as vLLM and llama-server have it
	"min_p":          enforced, // an extension, as vLLM and llama-server have it
	"seed":           enforced,
	"stop":           enforced,
	"stream":         enforced,
	"stream_options": enforced,

	"n":                 enforced,
	"logit_bias":        enforced,
	"presence_penalty":  enforced,
	"frequency_penalty": enforced,

	"user": harmlessText,
}

func merge(tables ...map[string]rule) map[string]rule {
	all := map[string]rule{}
	for _, table := range tables {
		for name, r := range table {
			all[name] = r
		}
	}
	return all
}

func enforced(dialect.Value) {}

func unsupported(v dialect.Value) { v.Unsupported(v.Param()) }

func harmlessText(v dialect.Value) { _ = v.String() }

// harmlessMap takes OpenAI's metadata: at most 16 strings under short names.
func harmlessMap(v dialect.Value) {
	o := v.Object()
	if len(o.Names()) > 16 {
		v.Fail(dialect.CodeInvalidValue, "%s must hold at most 16 pairs", v.Param())
	}
	for _, name := range o.Names() {
		if s, ok := o.Get(name); ok {
			_ = s.String()
		}
	}
}

func onlyFalse(v dialect.Value) {
	if v.Bool() {
		v.Unsupported(v.Param())
	}
}

func onlyInt(low, high, neutral int64) rule {
	return func(v dialect.Value) {
		if v.Int(low, high) != neutral {
			v.Unsupported(v.Param())
		}
	}
}

func onlyText(neutral ...string) rule {
	return func(v dialect.Value) {
		if v.Kind() != dialect.KindString {
			v.Unsupported(v.Param()) // function_call may be an object
			return
		}
		s := v.String()
		for _, n := range neutral {
			if s == n {
				return
			}
		}
		v.Unsupported("this value of " + v.Param())
	}
}

// onlyTexts takes modalities ["text"].
func onlyTexts(v dialect.Value) {
	for _, e := range v.Elements() {
		if e.String() != "text" {
			v.Unsupported("a modality other than text")
		}
	}
}
