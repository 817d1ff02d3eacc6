// Package builtin holds the model that is always there: a Llama of two million weights that answers
// questions on the pod itself and says of all else that it does not know. The folder
// tools/builtin-model trains it.
package builtin

import _ "embed"

// Name is how --model asks for it and how it is served.
const Name = "semantic-builtin"

// File is the model as a GGUF file.
//
//go:embed semantic-builtin.gguf
var File []byte
