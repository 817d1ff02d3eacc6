package engine

import (
	"encoding/hex"

	"github.com/semantic-pod/semantic/engine/model"
)

// ModelFile is what a GGUF file says of its model, and what this engine makes of it.
type ModelFile struct {
	Path         string           `json:"path"`
	Bytes        int64            `json:"bytes"`
	Name         string           `json:"name,omitempty"`
	Architecture string           `json:"architecture,omitempty"`
	Parameters   int64            `json:"parameters"`
	Types        map[string]int64 `json:"types"` // bytes of the tensors by their type
	Context      uint64           `json:"context,omitempty"`
	Layers       uint64           `json:"layers,omitempty"`
	Vocabulary   int              `json:"vocabulary,omitempty"`

	// Of InspectModel alone.
	Fingerprint  string `json:"fingerprint,omitempty"`
	WeightBytes  int    `json:"weight_bytes,omitempty"`       // in memory
	KVTokenBytes int    `json:"kv_bytes_per_token,omitempty"` // in memory, for each token of a context
	ChatTemplate bool   `json:"chat_template"`
	ToolPrompt   string `json:"tool_prompt,omitempty"` // whose: the template's own, or our own
	Fault        string `json:"fault,omitempty"`       // why it cannot be served
}

// ReadModelFile reads what stands before the weights of a file.
func ReadModelFile(path string) (*ModelFile, error) {
	f, size, _, err := openModelFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	m := &ModelFile{Path: path, Bytes: size, Types: map[string]int64{}}
	m.Name, _ = f.String("general.name")
	m.Architecture, _ = f.String("general.architecture")
	m.Context, _ = f.Uint(m.Architecture + ".context_length")
	m.Layers, _ = f.Uint(m.Architecture + ".block_count")
	tokens, _ := f.Strings("tokenizer.ggml.tokens")
	m.Vocabulary = len(tokens)
	for _, t := range f.Tensors() {
		elements := int64(1)
		for _, n := range t.Shape {
			elements *= int64(n)
		}
		m.Parameters += elements
		m.Types[t.Type.String()] += int64(len(t.Data))
	}
	return m, nil
}

// InspectModel reads a file as the engine would to serve it. A file that is a GGUF file
// and cannot be served has a fault.
func InspectModel(path string) (*ModelFile, error) {
	m, err := ReadModelFile(path)
	if err != nil {
		return nil, err
	}
	n := &native{}
	if err := n.open(Config{Model: path}); err != nil {
		m.Fault = err.Error()
		return m, n.close()
	}
	m.Fingerprint, m.WeightBytes = hex.EncodeToString(n.lineage.fingerprint[:]), n.model.WeightBytes()
	if bytes, err := blockBytes(n.model); err == nil {
		m.KVTokenBytes = bytes / model.BlockTokens
	}
	if m.ChatTemplate = n.template != nil; m.ChatTemplate {
		m.ToolPrompt = "our own"
		if n.template.TakesTools() {
			m.ToolPrompt = "the template's own"
		}
	}
	return m, n.close()
}
