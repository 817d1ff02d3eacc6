package engine

import (
	"bytes"
	"io"
	"os"
	"time"

	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/engine/gguf"
)

// openModelFile opens the file at a path, or the built-in model by its name, and returns its size
// in bytes and the time it was made.
func openModelFile(path string) (f *gguf.File, size int64, made time.Time, err error) {
	if path == builtin.Name {
		f, err = gguf.Parse(builtin.File)
		return f, int64(len(builtin.File)), time.Unix(0, 0), err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, time.Time{}, err
	}
	f, err = gguf.Open(path)
	return f, info.Size(), info.ModTime(), err
}

// readModelFile reads a file that was opened once more, from its beginning.
func readModelFile(f *gguf.File) (io.ReadCloser, error) {
	if f.Path() == "" {
		return io.NopCloser(bytes.NewReader(builtin.File)), nil
	}
	return os.Open(f.Path())
}
