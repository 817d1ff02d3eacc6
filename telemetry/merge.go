package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

var helpEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

func helpEscape(s string) string { return helpEscaper.Replace(s) }

// part is a family as one exposition wrote it.
type part struct {
	help, kind string // as written, escapes and all
	samples    []byte // whole lines, in their order
	end        int    // where they end in the exposition; -1 if they are a copy
}

// Merge writes several expositions as one: a family that stands in more than one
// gets a single HELP and TYPE line, those of the first, and the samples of all. A
// series that was there already, a family whose type contradicts and a line that
// cannot be read are left out and named in the error; the rest is written all the
// same, so that a scrape never fails because of them.
func Merge(dst io.Writer, expositions ...[]byte) error {
	var errs []error
	families := map[string][]part{}
	for _, e := range expositions {
		own, err := splitFamilies(e)
		if err != nil {
			errs = append(errs, err)
		}
		for name, p := range own {
			if first := families[name]; first != nil && first[0].kind != p.kind {
				errs = append(errs, fmt.Errorf("cannot merge metric %s: it is a %s and a %s", name, first[0].kind, p.kind))
				continue
			}
			families[name] = append(families[name], *p)
		}
	}
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	sort.Strings(names)
	var out bytes.Buffer
	for _, e := range expositions {
		out.Grow(len(e))
	}
	for _, name := range names {
		parts := families[name]
		writeRawHeader(&out, name, parts[0])
		if len(parts) == 1 {
			out.Write(parts[0].samples)
			continue
		}
		if err := writeUnique(&out, name, parts); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := dst.Write(out.Bytes()); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func writeRawHeader(out *bytes.Buffer, name string, p part) {
	if p.help != "" {
		out.WriteString("# HELP " + name + " " + p.help + "\n")
	}
	if p.kind != "" {
		out.WriteString("# TYPE " + name + " " + p.kind + "\n")
	}
}

// writeUnique writes the samples of all parts of a family, each series once.
func writeUnique(out *bytes.Buffer, name string, parts []part) error {
	var errs []error
	seen := map[string]bool{}
	for _, p := range parts {
		for line := range bytes.Lines(p.samples) {
			id := string(line[:seriesEnd(line)])
			if seen[id] {
				errs = append(errs, fmt.Errorf("cannot merge metric %s: the series %s stands in two expositions", name, id))
				continue
			}
			seen[id] = true
			out.Write(line)
		}
	}
	return errors.Join(errs...)
}

// splitFamilies cuts an exposition into its families. A sample belongs to the
// family that the TYPE line before it named, if its name fits; else it is a
// family without a type.
func splitFamilies(exposition []byte) (map[string]*part, error) {
	var errs []error
	families := map[string]*part{}
	get := func(name string) *part {
		p := families[name]
		if p == nil {
			p = &part{}
			families[name] = p
		}
		return p
	}
	current, p := "", (*part)(nil)
	at := 0
	for line := range bytes.Lines(exposition) {
		from := at
		at += len(line)
		text := trimEnd(line)
		switch {
		case len(text) == 0:
		case text[0] == '#':
			word, name, rest := cutComment(string(text))
			switch word {
			case "HELP":
				p, current = get(name), name
				p.help = rest
			case "TYPE":
				p, current = get(name), name
				p.kind = rest
			}
		default:
			end := seriesEnd(text)
			if end <= 0 || end >= len(text) {
				errs = append(errs, fmt.Errorf("cannot read the metrics line %.80q", text))
				continue
			}
			if name := text[:nameEnd(text)]; !belongs(name, current) {
				current, p = string(name), nil
			}
			if p == nil {
				p = get(current)
			}
			if len(line) == len(text)+1 && (len(p.samples) == 0 || p.end == from) {
				// Lines that follow one another are taken as they stand.
				p.samples, p.end = exposition[from-len(p.samples):at:at], at
			} else {
				p.samples, p.end = append(append(p.samples, text...), '\n'), -1
			}
		}
	}
	for name, p := range families {
		if len(p.samples) == 0 {
			delete(families, name) // a header alone says nothing, and would hide a later one
		}
	}
	return families, errors.Join(errs...)
}

// trimEnd cuts a line's end off.
func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line[:len(line):len(line)]
}

func cutComment(line string) (word, name, rest string) {
	line = strings.TrimLeft(line[1:], " \t")
	word, line, _ = strings.Cut(line, " ")
	name, rest, _ = strings.Cut(strings.TrimLeft(line, " \t"), " ")
	return word, name, rest
}

// belongs reports whether a sample of that name is one of the family's.
func belongs(name []byte, family string) bool {
	if family == "" || len(name) < len(family) || string(name[:len(family)]) != family {
		return false
	}
	tail := string(name[len(family):]) // compared below, never kept
	return tail == "" || tail == "_bucket" || tail == "_sum" || tail == "_count"
}

func nameEnd(line []byte) int {
	for i, c := range line {
		if c == '{' || c == ' ' || c == '\t' {
			return i
		}
	}
	return len(line)
}

// seriesEnd returns where the name and labels of a sample end, or -1. A label's
// value may hold any character, so quotes have to be followed.
func seriesEnd(line []byte) int {
	i := nameEnd(line)
	if i == len(line) || line[i] != '{' {
		return i
	}
	quoted := false
	for ; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++
		case line[i] == '"':
			quoted = !quoted
		case !quoted && line[i] == '}':
			return i + 1
		}
	}
	return -1
}
