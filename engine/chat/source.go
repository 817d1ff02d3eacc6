package chat

import (
	"errors"
	"fmt"
	"time"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/tokenizer"
)

const keyTemplate = "tokenizer.chat_template"

// chatML is what a file without a template gets when its vocabulary has ChatML's markers: a model
// that was not trained on ChatML has no use for them.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}`

// ErrNoTemplate is returned by New for a model that is not made for chats.
var ErrNoTemplate = errors.New("the model file has no chat template, and its vocabulary no ChatML markers")

// New returns the template of a model file.
func New(f *gguf.File, tok *tokenizer.Tokenizer) (*Template, error) {
	source, ok := f.String(keyTemplate)
	if !ok || source == "" {
		_, start := tok.Special("<|im_start|>")
		_, end := tok.Special("<|im_end|>")
		if !start || !end {
			return nil, ErrNoTemplate
		}
		source = chatML
	}
	t, err := Parse(source, tok)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s of the model file: %w", keyTemplate, err)
	}
	return t, nil
}

// Parse returns the template that source is.
func Parse(source string, tok *tokenizer.Tokenizer) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the template has %d bytes; %d are allowed", len(source), maxSource)
	}
	t := &Template{tokenizer: tok, now: time.Now}
	t.bos, t.eos = t.mark(tok.BOS()), t.mark(tok.EOS())
	marked, err := t.markSource(source)
	if err != nil {
		return nil, err
	}
	t.compiled, err = compile(marked)
	return t, err
}
