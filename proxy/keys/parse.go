package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a key file: its entries, and the nodes that they were read from.
type document struct {
	path    string
	data    []byte
	blank   bool       // it has no `keys:`: what an interrupted writer leaves
	list    *yaml.Node // nil without any key
	nodes   []*yaml.Node
	entries []Entry
}

// FileError is what is wrong in a key file, with the file's name and the line.
type FileError struct{ err error }

func (e *FileError) Error() string { return e.err.Error() }
func (e *FileError) Unwrap() error { return e.err }

// parseWhole reads a key file that is to come in force: nothing at all is not the
// same as no keys.
func parseWhole(path string, data []byte) (*document, error) {
	d, err := parse(path, data)
	if err == nil && d.blank {
		return nil, &FileError{fmt.Errorf("%s:1: there is no `keys:` in it", path)}
	}
	return d, err
}

// parse reads a key file. Its error is a FileError.
func parse(path string, data []byte) (*document, error) {
	d := &document{path: path, data: data, blank: true}
	root, err := decode(path, data)
	if err == nil && root != nil {
		err = d.readRoot(root)
	}
	if err == nil {
		err = checkUnique(d.entries)
	}
	if err != nil {
		return nil, &FileError{err}
	}
	return d, nil
}

func decode(path string, data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil // nothing but comments
		}
		return nil, syntaxError(path, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, fmt.Errorf("%s:%d: expected one document, not a second one", path, more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(path, err)
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return nil, nil
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError puts the place where ours is into the library's error.
func syntaxError(path string, err error) error {
	text, line := err.Error(), "1"
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = strings.TrimPrefix(text, m[0])
		if m[1] != "" {
			line = m[1]
		}
	}
	if strings.Contains(text, prefix) {
		text = "this is no YAML"
	}
	return fmt.Errorf("%s:%s: %s", path, line, text)
}

func (d *document) errorf(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s: %w", d.at(n), fmt.Errorf(format, args...))
}

func (d *document) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", d.path, n.Line) }

func (d *document) readRoot(root *yaml.Node) error {
	if root.Kind != yaml.MappingNode {
		return d.errorf(root, "expected a list under `keys:`")
	}
	for i := 0; i < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		switch {
		case name.Value != "keys":
			return d.errorf(name, "unknown field %s, expected keys", quoted(name.Value))
		case i > 0:
			return d.errorf(name, "keys is there twice")
		case isNull(value):
			d.blank = false
			continue
		case value.Kind != yaml.SequenceNode:
			return d.errorf(value, "expected a list under `keys:`")
		}
		d.list, d.blank = value, false
	}
	if d.list == nil {
		return nil
	}
	for _, n := range d.list.Content {
		e, err := d.readEntry(n)
		if err != nil {
			return err
		}
		d.entries, d.nodes = append(d.entries, e), append(d.nodes, n)
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// readEntry reads one key.
func (d *document) readEntry(n *yaml.Node) (Entry, error) {
	e := Entry{place: d.at(n)}
	err := d.readMapping(n, required, func(name, value *yaml.Node) error {
		if name.Value == "previous" {
			return d.readPrevious(&e, value)
		}
		read := fields[name.Value]
		if read == nil {
			return d.errorf(name, "unknown field %s", quoted(name.Value))
		}
		return d.readValue(name.Value, value, func(text string) error { return read(&e, text) })
	})
	if err != nil {
		return e, err
	}
	if err := e.Limits.Validate(); err != nil {
		return e, d.errorf(n, "key %s: %w", e.Name, err)
	}
	return e, nil
}

// readPrevious reads the keys that the entry's has replaced.
func (d *document) readPrevious(e *Entry, list *yaml.Node) error {
	if list.Kind != yaml.SequenceNode {
		return d.errorf(list, "previous: expected a list of sha256 and revoked")
	}
	for _, n := range list.Content {
		p := Previous{place: d.at(n)}
		err := d.readMapping(n, []string{"sha256", "revoked"}, func(name, value *yaml.Node) error {
			switch name.Value {
			case "sha256":
				return d.readValue("previous: sha256", value, func(text string) error { return readDigest(&p.Digest, text) })
			case "revoked":
				return d.readValue("previous: revoked", value, func(text string) error { return readTime(&p.Revoked, text) })
			}
			return d.errorf(name, "unknown field %s of a previous key, expected sha256 and revoked", quoted(name.Value))
		})
		if err != nil {
			return err
		}
		e.Previous = append(e.Previous, p)
	}
	return nil
}

// readMapping reads each field of a mapping once.
func (d *document) readMapping(n *yaml.Node, required []string, read func(name, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return d.errorf(n, "expected the fields of a key, such as `name: ci`")
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode {
			return d.errorf(name, "expected the name of a field")
		}
		if seen[name.Value] {
			return d.errorf(name, "%s is there twice", quoted(name.Value))
		}
		seen[name.Value] = true
		if err := read(name, value); err != nil {
			return err
		}
	}
	for _, name := range required {
		if !seen[name] {
			return d.errorf(n, "the key has no %s", name)
		}
	}
	return nil
}

func (d *document) readValue(name string, value *yaml.Node, read func(string) error) error {
	if value.Kind != yaml.ScalarNode || isNull(value) {
		return d.errorf(value, "%s: expected one value", name)
	}
	if err := read(value.Value); err != nil {
		return d.errorf(value, "%s: %w", name, err)
	}
	return nil
}
