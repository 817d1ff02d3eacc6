package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds one line of a stream, and the data of one event.
const maxLine = 4 << 20

// events reads server-sent events.
type events struct {
	r    *bufio.Reader
	line []byte
	data []byte
}

// newEvents reads from r. alive is called whenever something came.
func newEvents(r io.Reader, alive func()) *events {
	return &events{r: bufio.NewReaderSize(&pulse{r, alive}, 16<<10)}
}

// pulse tells of each successful read.
type pulse struct {
	r     io.Reader
	alive func()
}

func (p *pulse) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.alive()
	}
	return n, err
}

// next returns the data of the next event that has some; it is valid until the next
// call. An event that the stream's end cuts off does not count.
func (e *events) next() ([]byte, error) {
	e.data = e.data[:0]
	has := false
	for {
		line, err := e.readLine()
		if err != nil {
			return nil, err
		}
		value, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case len(line) == 0 && has:
			return e.data, nil
		case !isData: // a comment, the event's name, which its data repeats, or an empty line
		case len(e.data)+len(value) > maxLine:
			return nil, errLine
		default:
			if has {
				e.data = append(e.data, '\n')
			}
			e.data, has = append(e.data, bytes.TrimPrefix(value, []byte(" "))...), true
		}
	}
}

// readLine returns a line without its end.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		part, err := e.r.ReadSlice('\n')
		if e.line = append(e.line, part...); len(e.line) > maxLine {
			return nil, errLine
		}
		if err == nil {
			return bytes.TrimRight(e.line, "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
