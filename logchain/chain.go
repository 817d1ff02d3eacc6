package logchain

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Head is the end of a chain. Published outside of the volume, it shows later
// whether the chain was cut.
type Head struct {
	Count uint64 `json:"entries"`
	Hash  string `json:"head"` // of the last entry's line
}

func (h Head) String() string { return strconv.FormatUint(h.Count, 10) + ":" + h.Hash }

// Prefix returns the first 48 bits of the hash as a number, which a metric can hold
// exactly. In hexadecimal it is the hash's first 12 digits.
func (h Head) Prefix() uint64 {
	n, err := strconv.ParseUint(h.Hash[:min(prefixDigits, len(h.Hash))], 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// prefixDigits is how much of a hash must be given at least to stand for it.
const prefixDigits = 12

var headForm = regexp.MustCompile(`^([0-9]{1,19}):([0-9a-f]{12,64})$`)

// ParseHead reads COUNT:HASH, in which HASH may be cut down to 12 digits.
func ParseHead(text string) (Head, error) {
	m := headForm.FindStringSubmatch(text)
	if m == nil {
		return Head{}, fmt.Errorf("%q is no head: write COUNT:HASH, with 12 to 64 hexadecimal digits of the hash", text)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	return Head{Count: n, Hash: m[2]}, err
}

// matches reports whether the head is the one that was noted.
func (h Head) matches(noted Head) bool {
	return h.Count == noted.Count && strings.HasPrefix(h.Hash, noted.Hash)
}

// Break says where a manifest's lines do not follow from each other.
type Break struct {
	Line uint64 // from 1
	What string
}

func (b *Break) Error() string { return fmt.Sprintf("line %d of the manifest: %s", b.Line, b.What) }

// chain follows a manifest line by line.
type chain struct {
	head  Head
	lines uint64
}

func newChain() chain { return chain{head: Head{Hash: genesis}} }

// next takes the next line, with its line feed. After a break the chain goes on
// from the line as it is.
func (c *chain) next(line []byte) (*Entry, *Break) {
	before := c.head
	c.lines++
	c.head = Head{Count: before.Count + 1, Hash: hashLine(line)}
	e, err := parseEntry(line)
	if err != nil {
		return nil, &Break{c.lines, err.Error()}
	}
	c.head.Count = e.N
	switch {
	case e.N != before.Count+1:
		return e, &Break{c.lines, fmt.Sprintf("it is entry %d where entry %d is due", e.N, before.Count+1)}
	case e.Prev != before.Hash && before.Count == 0:
		return e, &Break{c.lines, "it says that there was an entry before the first one"}
	case e.Prev != before.Hash:
		return e, &Break{c.lines, fmt.Sprintf("it was written after an entry %d that was another one", before.Count)}
	case (e.Kind == Begin) != (e.N == 1):
		return e, &Break{c.lines, fmt.Sprintf("entry %d is of kind %q", e.N, e.Kind)}
	}
	return e, nil
}

// maxLine bounds a line of the manifest; see maxWriters. Of a longer one, which
// somebody else wrote, the beginning stands for the whole.
const maxLine = 1 << 20

// readLines gives visit each whole line with its line feed, and returns the size of
// a piece of a line at the end, which a crash may have left.
func readLines(r io.Reader, visit func(line []byte) error) (torn int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		size := int64(len(line))
		if errors.Is(err, bufio.ErrBufferFull) {
			line = append([]byte(nil), line...)
			for errors.Is(err, bufio.ErrBufferFull) {
				var rest []byte
				rest, err = in.ReadSlice('\n')
				size += int64(len(rest))
			}
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, fmt.Errorf("cannot read the manifest: %w", err)
		}
		if err := visit(line); err != nil {
			return 0, err
		}
	}
}
