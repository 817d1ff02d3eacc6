package console

import (
	"bytes"
	"strconv"
)

// series is one line of an exposition.
type series struct {
	name   string
	labels string // as written, without braces
	value  float64
}

// eachSeries gives every series of a text exposition whose name is wanted.
func eachSeries(text []byte, wanted map[string]bool, give func(series)) {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		end := bytes.IndexAny(line, "{ ")
		if end < 0 || !wanted[string(line[:end])] {
			continue
		}
		s := series{name: string(line[:end])}
		tail := line[end:]
		if tail[0] == '{' {
			closed := bytes.LastIndexByte(tail, '}')
			if closed < 0 {
				continue
			}
			s.labels, tail = string(tail[1:closed]), tail[closed+1:]
		}
		number, _, _ := bytes.Cut(bytes.TrimLeft(tail, " "), []byte(" "))
		v, err := strconv.ParseFloat(string(number), 64)
		if err != nil {
			continue
		}
		s.value = v
		give(s)
	}
}

// label returns the value of one label.
func (s series) label(name string) string {
	text := []byte(s.labels)
	for {
		key, rest, ok := bytes.Cut(text, []byte(`="`))
		if !ok {
			return ""
		}
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if string(bytes.TrimLeft(key, ",")) == name {
			return string(rest[:min(end, len(rest))])
		}
		text = rest[min(end+1, len(rest)):]
	}
}
