// Package enginetest makes models for tests: small GGUF files with random weights,
// a byte-level tokenizer and a chat template, in which everything is real but the
// sense. It also finds the default model, whose weights are trained.
//
// Read: enginetest, weights, vocabulary, ggufwriter.
package enginetest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// ChatTemplate is the template of the models made here.
const ChatTemplate = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// Llama3Template shows tools and writes calls in the way of Llama 3.1 to 3.3: arguments are "parameters",
// one call a turn, and results are the role ipython's.
const Llama3Template = `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{%- if tools is not none %}{{- 'Environment: ipython\n' }}{%- endif %}
{{- system + '<|eot_id|>' }}
{%- if tools is not none %}
{{- '<|start_header_id|>user<|end_header_id|>\n\nAnswer as {"name": function, "parameters": its arguments}.\n' }}
{%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\n\n' }}{%- endfor %}
{{- messages[0]['content'] | trim }}{{- '<|eot_id|>' }}{%- set messages = messages[1:] %}
{%- endif %}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- elif 'tool_calls' in message %}
{%- if not message.tool_calls | length == 1 %}{{- raise_exception('one call at once is all that this model makes') }}{%- endif %}
{%- set tool_call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- '}<|eot_id|>' }}
{%- else %}{{- '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{- message.content | tojson }}{{- '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}`

// DefaultModel is the file that `make model` puts under the repository's root.
const DefaultModel = "models/smollm2-135m-instruct-q4_1.gguf"

// Shape is the size of a model. The zero value of a field takes the small default.
type Shape struct {
	Layers, Embedding, Heads, KVHeads, FeedForward, Context int

	Seed         uint64 // another seed gives other weights
	ChatTemplate string // the constant's by default
}

func (s Shape) withDefaults() Shape {
	for _, d := range []struct {
		field *int
		value int
	}{{&s.Layers, 2}, {&s.Embedding, 64}, {&s.Heads, 2}, {&s.KVHeads, 1}, {&s.FeedForward, 128}, {&s.Context, 512}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if s.ChatTemplate == "" {
		s.ChatTemplate = ChatTemplate
	}
	return s
}

// Bytes returns the model as a GGUF file. The same shape gives the same bytes. Its
// greedy answers never end by themselves.
func Bytes(s Shape) []byte {
	s = s.withDefaults()
	w := &ggufWriter{}
	w.string("general.architecture", "llama")
	w.string("general.name", "Random")
	for _, kv := range []struct {
		key   string
		value int
	}{
		{"block_count", s.Layers}, {"context_length", s.Context}, {"embedding_length", s.Embedding},
		{"feed_forward_length", s.FeedForward}, {"attention.head_count", s.Heads}, {"attention.head_count_kv", s.KVHeads},
		{"rope.dimension_count", s.Embedding / s.Heads}, {"vocab_size", vocabulary},
	} {
		w.uint("llama."+kv.key, uint32(kv.value))
	}
	w.float("llama.attention.layer_norm_rms_epsilon", 1e-5)
	w.float("llama.rope.freq_base", 10000)
	w.tokenizer()
	w.string("tokenizer.chat_template", s.ChatTemplate)
	w.weights(s)
	var out bytes.Buffer
	w.writeTo(&out)
	return out.Bytes()
}

// Model writes the model to a file of the test's own and returns its path.
func Model(t testing.TB, s Shape) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := os.WriteFile(path, Bytes(s), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Default returns the path of the default model.
func Default(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
	}
	path := filepath.Join(dir, DefaultModel)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the default model is missing (%v); run: make model", err)
	}
	return path
}
