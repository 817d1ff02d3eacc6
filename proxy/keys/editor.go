package keys

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// editor changes the lines of a document and leaves all others as they are.
type editor struct {
	*document
	lines []string         // with their ends
	after map[int][]string // lines to put in after line n, which counts from 1
}

func newEditor(d *document) *editor {
	return &editor{document: d, lines: strings.SplitAfter(string(d.data), "\n"), after: map[int][]string{}}
}

func (d *editor) find(name string) (int, bool) {
	i := slices.IndexFunc(d.entries, func(e Entry) bool { return e.Name == name })
	return i, i >= 0
}

// field finds the value of one of an entry's fields.
func (d *editor) field(entry int, name string) *yaml.Node {
	fields := d.nodes[entry].Content
	for i := 0; i < len(fields); i += 2 {
		if fields[i].Value == name {
			return fields[i+1]
		}
	}
	return nil
}

// set gives a field of one value another one, or adds the field.
func (d *editor) set(entry int, name, value string) {
	old := d.field(entry, name)
	if old == nil {
		d.insert(entry, d.indent(d.nodes[entry])+name+": "+value)
		return
	}
	line := &d.lines[old.Line-1]
	at := min(old.Column-1, len(*line))
	*line = (*line)[:at] + strings.Replace((*line)[at:], old.Value, value, 1)
}

// addPrevious adds a key that was replaced, as the first of them.
func (d *editor) addPrevious(entry int, p Previous) {
	indent := d.indent(d.nodes[entry]) + "  "
	if list := d.field(entry, "previous"); list != nil {
		indent = d.indent(list)
		d.after[list.Line-1] = append(d.after[list.Line-1], previousLines(indent, p)...)
		return
	}
	d.insert(entry, append([]string{d.indent(d.nodes[entry]) + "previous:"}, previousLines(indent, p)...)...)
}

func previousLines(indent string, p Previous) []string {
	return []string{
		indent + fmt.Sprintf("- sha256: %x", p.Digest),
		indent + "  revoked: " + p.Revoked.Format(time.RFC3339),
	}
}

// indent is what stands before a node.
func (d *editor) indent(n *yaml.Node) string { return strings.Repeat(" ", n.Column-1) }

// insert puts lines after an entry's digest, which is one line of its own.
func (d *editor) insert(entry int, lines ...string) {
	at := d.field(entry, "sha256").Line
	d.after[at] = append(d.after[at], lines...)
}

// append adds an entry at the end.
func (d *editor) append(e Entry) {
	indent := "  "
	if d.list != nil {
		indent = d.indent(d.list)
	}
	var lines []string
	if d.blank {
		lines = append(lines, "keys:")
	}
	for i, field := range fieldsOf(e) {
		start := indent + "  "
		if i == 0 {
			start = indent + "- "
		}
		lines = append(lines, start+field)
	}
	d.after[len(d.lines)] = append(d.after[len(d.lines)], lines...)
	d.entries = append(d.entries, e)
}

// fieldsOf writes a new entry's fields, a line each.
func fieldsOf(e Entry) []string {
	lines := []string{
		"name: " + scalar(e.Name),
		"tenant: " + scalar(e.Tenant),
		fmt.Sprintf("sha256: %x", e.Digest),
		"created: " + e.Created.Format(time.RFC3339),
	}
	add := func(given bool, name, value string) {
		if given {
			lines = append(lines, name+": "+value)
		}
	}
	l := e.Limits
	add(!e.Expires.IsZero(), "expires", e.Expires.Format(time.RFC3339))
	add(l.RequestsPerSecond > 0, "requests_per_second", strconv.FormatFloat(l.RequestsPerSecond, 'f', -1, 64))
	add(l.Burst > 0, "burst", strconv.Itoa(l.Burst))
	add(l.TokensPerMinute > 0, "tokens_per_minute", strconv.FormatInt(l.TokensPerMinute, 10))
	add(l.MaxConcurrent > 0, "max_concurrent", strconv.Itoa(l.MaxConcurrent))
	add(e.Admin, "admin", "true")
	return lines
}

// scalar writes a name so that YAML takes it for a text.
func scalar(s string) string {
	if n := (yaml.Node{Kind: yaml.ScalarNode, Value: s}); n.ShortTag() != "!!str" {
		return strconv.Quote(s)
	}
	return s
}

// bytes are the document's with the changes.
func (d *editor) bytes() []byte {
	var out bytes.Buffer
	end := "\n"
	if strings.HasSuffix(d.lines[0], "\r\n") {
		end = "\r\n"
	}
	for i, line := range d.lines {
		out.WriteString(line)
		more := d.after[i+1]
		if len(more) > 0 && out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
			out.WriteString(end)
		}
		for _, line := range more {
			out.WriteString(line + end)
		}
	}
	return out.Bytes()
}

// check reads the changed text back: it must hold the entries that were intended.
func (d *editor) check(text []byte) error {
	again, err := parse(d.path, text)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(placeless(again.entries), placeless(d.entries)) {
		return errors.New("the lines do not mean what they should after the change")
	}
	return nil
}

// placeless copies entries without their places in the file.
func placeless(entries []Entry) []Entry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].place = ""
		out[i].Previous = slices.Clone(out[i].Previous)
		for j := range out[i].Previous {
			out[i].Previous[j].place = ""
		}
	}
	return out
}
