package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/semantic-pod/semantic/engine/gguf"
)

// What is read of a tensor for the fingerprint: so many pieces, evenly spread, of so
// many bytes; a smaller tensor is read whole.
const (
	samples     = 16
	sampleBytes = 1 << 10
)

// arithmetic counts the changes of what the kernels compute from the same weights: an agent's memory
// is not gone on with in other bits than it was made of.
const arithmetic = 2

// fingerprint tells models apart: the SHA-256 of the arithmetic, of the file's size, of all that stands
// before the tensors (the metadata, the tokenizer, each tensor's name, type, shape and
// place) and of 16 KiB of every tensor. To read all of a large model would cost
// seconds at every start; two models that differ in weights differ in nearly all of
// their bytes, unless somebody edits single ones by hand and means to deceive himself.
func fingerprint(f *gguf.File, size int64) ([32]byte, error) {
	h := sha256.New()
	fmt.Fprintf(h, "semantic model %d %d\n", arithmetic, size)
	front := size
	for _, t := range f.Tensors() {
		front -= int64(len(t.Data))
	}
	file, err := readModelFile(f)
	if err != nil {
		return [32]byte{}, err
	}
	defer func() { _ = file.Close() }()
	if _, err := io.CopyN(h, file, max(front, 0)); err != nil {
		return [32]byte{}, fmt.Errorf("cannot read the metadata for the fingerprint: %w", err)
	}
	for _, t := range f.Tensors() {
		_ = binary.Write(h, binary.LittleEndian, uint64(len(t.Data)))
		if len(t.Data) <= samples*sampleBytes {
			h.Write(t.Data)
			continue
		}
		step := (len(t.Data) - sampleBytes) / (samples - 1)
		for i := range samples {
			h.Write(t.Data[i*step:][:sampleBytes])
		}
	}
	return [32]byte(h.Sum(nil)), nil
}
