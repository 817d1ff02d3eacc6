// Package logchain is the manifest of a log folder: one line of JSON for each file
// that was rotated, removed or shipped, each bound to the one before by its SHA-256
// and, when there is a key, signed. Whoever holds the number of entries and the hash
// of the last one can prove that no file and no entry was removed, reordered or
// edited. docs/logs.md tells how to do so with sha256sum and openssl alone.
//
// Read: names, entry, chain, index, manifest, state, key, line, survey, verify, files.
package logchain

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kind says what an entry tells.
type Kind string

// The kinds of entries.
const (
	Begin     Kind = "begin"     // the manifest begins; always the first entry
	Archived  Kind = "file"      // a rotated file, and what is in it
	Tombstone Kind = "tombstone" // a file is removed by retention
	Shipped   Kind = "shipped"   // a file's copy is in the object store, read back and compared
)

// Entry is one line of the manifest. The order of the fields is the order in the
// line, and an entry has one spelling only.
type Entry struct {
	N    uint64    `json:"n"` // 1, 2, 3, …
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`           // when the entry was written, UTC
	Name string    `json:"name"`           // of the file; of the manifest itself in the first entry
	Host string    `json:"host,omitempty"` // of the first entry: where it began
	*File
	Of     uint64 `json:"of,omitempty"`     // of a tombstone or shipment: the file's entry
	Reason string `json:"reason,omitempty"` // of a tombstone: the setting that had it removed
	To     string `json:"to,omitempty"`     // of a shipment: where the copy is
	Prev   string `json:"prev"`             // SHA-256 of the line before with its line feed
	Sig    string `json:"sig,omitempty"`    // Ed25519 over the line without this field
}

// File is what an entry says of a rotated file.
type File struct {
	Size      int64    `json:"size"` // of what the log said, not compressed
	SHA256    string   `json:"sha256"`
	Lines     uint64   `json:"lines"`
	Writers   []Writer `json:"writers"`               // in the order of their first lines
	Unlisted  uint64   `json:"unlisted,omitempty"`    // lines of no writer: other programs', or beyond maxWriters
	ZstSize   int64    `json:"zst_size,omitempty"`    // of the compressed file; absent if there never was one
	ZstSHA256 string   `json:"zst_sha256,omitempty"`  //
	Errors    uint64   `json:"error_lines,omitempty"` // copied to the file below
	ErrorsTo  string   `json:"errors_to,omitempty"`   // the file of error lines
	ErrorsEnd int64    `json:"errors_end,omitempty"`  // its size with them
	Lost      uint64   `json:"errors_lost,omitempty"` // error lines that a full disk did not take
	Adopted   bool     `json:"adopted,omitempty"`     // found without an entry, not seen being made
}

// Writer is one process that wrote to a file, from its start to its end.
type Writer struct {
	Boot  string `json:"boot"`
	First uint64 `json:"first"` // seq of its first line in the file
	Last  uint64 `json:"last"`
	Lines uint64 `json:"lines"` // fewer than Last-First+1 if the writer dropped some
}

// genesis is what the first entry has for a predecessor's hash.
var genesis = hex.EncodeToString(make([]byte, sha256.Size))

// line writes the entry as it stands in the manifest.
func (e *Entry) line() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("cannot write an entry of the manifest: %w", err)
	}
	return b.Bytes(), nil
}

// sign sets the signature, over the line without it.
func (e *Entry) sign(key ed25519.PrivateKey) error {
	e.Sig = ""
	text, err := e.line()
	if err != nil {
		return err
	}
	e.Sig = base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))
	return nil
}

// signedBy reports whether the entry's signature is of one of the keys.
func (e *Entry) signedBy(keys []ed25519.PublicKey) bool {
	sig, err := base64.StdEncoding.DecodeString(e.Sig)
	if err != nil {
		return false
	}
	unsigned := *e
	unsigned.Sig = ""
	text, err := unsigned.line()
	if err != nil {
		return false
	}
	for _, key := range keys {
		if ed25519.Verify(key, text, sig) {
			return true
		}
	}
	return false
}

// errSpelling says that a line is no entry, or one that was written by hand.
var errSpelling = errors.New("it is not spelled as an entry is")

// parseEntry reads a line with its line feed. An entry that would be written
// otherwise than it stands there is refused.
func parseEntry(line []byte) (*Entry, error) {
	e := new(Entry)
	if err := json.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("%w: %w", errSpelling, err)
	}
	again, err := e.line()
	if err != nil || !bytes.Equal(again, line) {
		return nil, errSpelling
	}
	if e.Kind == Archived && e.File == nil {
		return nil, errSpelling
	}
	return e, nil
}

// hashLine returns the hash by which the next entry knows this line.
func hashLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}
