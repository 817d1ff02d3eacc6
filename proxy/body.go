package proxy

import (
	"errors"
	"fmt"
	"io"
)

// part is where in a body's framing the next byte is.
type part int

const (
	inData     part = iota // left bytes of data come
	afterChunk             // the CR LF behind a chunk's data
	atSize                 // a chunk's size
	inTrailers
	atEnd
)

// body takes the framing off an answer's body. It never waits: when what was
// received is used up it says errMore, so that its caller can pass on what it has
// before it waits.
type body struct {
	u        *upstream
	out      *outcome // gets the trailers; may be nil
	part     part
	chunked  bool
	left     int64
	trailers int // lines seen
}

func newBody(u *upstream, a *answerHead, out *outcome) body {
	b := body{u: u, out: out, left: a.length}
	if a.length == lengthChunked {
		b.chunked, b.part, b.left = true, atSize, 0
	}
	return b
}

// next returns the next piece of the body, good until the next fill; errMore; or
// io.EOF when the body has truly ended.
func (b *body) next() ([]byte, error) {
	for {
		switch b.part {
		case inData:
			if b.left > 0 {
				return b.data()
			}
			b.part = atEnd
			if b.chunked {
				b.part = afterChunk
			}
		case atEnd:
			return nil, io.EOF
		default:
			line, err := b.u.line()
			if err != nil {
				return nil, err
			}
			if err := b.frame(line); err != nil {
				return nil, err
			}
		}
	}
}

func (b *body) data() ([]byte, error) {
	u := b.u
	n := min(int64(u.w-u.r), b.left)
	if n == 0 {
		return nil, errMore
	}
	piece := u.in[u.r : u.r+int(n)]
	u.r += int(n)
	b.left -= n
	return piece, nil
}

// frame takes a line between the data.
func (b *body) frame(line []byte) error {
	switch b.part {
	case afterChunk:
		if len(line) > 0 {
			return fmt.Errorf("%w: a chunk is longer than its size", errGarbage)
		}
		b.part = atSize
	case atSize:
		size, ok := parseChunkSize(line)
		if !ok {
			return fmt.Errorf("%w: a chunk's size is no number", errGarbage)
		}
		b.part, b.left = inData, size
		if size == 0 {
			b.part = inTrailers
		}
	case inTrailers:
		if len(line) == 0 {
			b.part = atEnd
			return nil
		}
		if b.trailers++; b.trailers > maxHeaderLines {
			return fmt.Errorf("%w: it has more than %d trailers", errGarbage, maxHeaderLines)
		}
		name, value, err := cutHeader(line)
		if err != nil {
			return err
		}
		if b.out != nil {
			b.out.take(name, value)
		}
	}
	return nil
}

// readAll reads the body to its end, waiting as needed.
func (b *body) readAll(limit int, add func([]byte)) error {
	for total := 0; ; {
		piece, err := b.next()
		switch {
		case err == nil:
			if total += len(piece); total > limit {
				return fmt.Errorf("%w: its body has more than %d bytes", errGarbage, limit)
			}
			add(piece)
		case errors.Is(err, errMore):
			if err := b.u.fill(); err != nil {
				return err
			}
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// parseChunkSize reads a chunk's size; what follows a semicolon is ignored.
func parseChunkSize(line []byte) (int64, bool) {
	n, digits := int64(0), 0
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c == ';' && digits > 0:
			return n, true
		default:
			return 0, false
		}
		if digits++; digits > 8 {
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, digits > 0
}
