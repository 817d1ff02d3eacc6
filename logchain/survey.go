package logchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// Bounds on what is kept while a file is read.
const (
	maxWriters  = 1000    // named in an entry; a file has more after a thousand restarts
	maxLineHeld = 8 << 20 // of a line that spans two reads; a writer's buffer holds half of that
)

// Survey reads a log file that is written into it, and finds out what an entry of
// the manifest says of it.
type Survey struct {
	file    File
	hash    hash.Hash
	onError func(line []byte) error // gets each whole line of level error; may be nil
	held    []byte                  // the beginning of a line whose end is yet to come
	long    bool                    // what is held is cut
	writers map[string]int          // by boot: its place in file.Writers
	last    int                     // the writer of the line before
}

// NewSurvey returns a survey that hands error lines to onError.
func NewSurvey(onError func(line []byte) error) *Survey {
	return &Survey{hash: sha256.New(), onError: onError, writers: map[string]int{}, file: File{Writers: []Writer{}}}
}

// Write takes the next part of the file.
func (s *Survey) Write(part []byte) (int, error) {
	s.hash.Write(part)
	s.file.Size += int64(len(part))
	for rest := part; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			s.hold(rest)
			break
		}
		line := rest[:end]
		if len(s.held) > 0 {
			s.hold(line)
			line = s.held
		}
		if err := s.line(line); err != nil {
			return 0, err
		}
		s.held, s.long = s.held[:0], false
		rest = rest[end:]
	}
	return len(part), nil
}

func (s *Survey) hold(part []byte) {
	if len(s.held)+len(part) > maxLineHeld {
		part, s.long = part[:maxLineHeld-len(s.held)], true
	}
	s.held = append(s.held, part...)
}

func (s *Survey) line(text []byte) error {
	s.file.Lines++
	l, ok := ParseLine(text)
	if !ok || s.long {
		s.file.Unlisted++
		return nil
	}
	if w := s.writer(l.Boot); w == nil {
		s.file.Unlisted++
	} else {
		if w.Lines == 0 {
			w.First = l.Seq
		}
		w.First, w.Last = min(w.First, l.Seq), max(w.Last, l.Seq)
		w.Lines++
	}
	if l.IsError() && s.onError != nil {
		return s.onError(text)
	}
	return nil
}

// writer finds the writer's place; nil when there is none left.
func (s *Survey) writer(boot []byte) *Writer {
	if s.last < len(s.file.Writers) && s.file.Writers[s.last].Boot == string(boot) {
		return &s.file.Writers[s.last]
	}
	at, ok := s.writers[string(boot)]
	if !ok {
		if len(s.file.Writers) == maxWriters {
			return nil
		}
		at = len(s.file.Writers)
		s.file.Writers = append(s.file.Writers, Writer{Boot: string(boot)})
		s.writers[string(boot)] = at
	}
	s.last = at
	return &s.file.Writers[at]
}

// File returns what was found out of all that was written.
func (s *Survey) File() File {
	f := s.file
	f.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	if len(s.held) > 0 { // a last line without its end, of another program
		f.Lines++
		f.Unlisted++
	}
	return f
}
