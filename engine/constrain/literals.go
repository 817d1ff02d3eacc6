package constrain

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// constants returns the node of a const or an enum, of which those are left that
// have one of the types.
func (c *compiler) constants(v dialect.Value, several bool, types []string) []int32 {
	values := []dialect.Value{v}
	if several {
		values = v.Elements()
	}
	var texts []string
	for _, value := range values {
		var out bytes.Buffer
		if err := json.Compact(&out, value.Raw()); err != nil {
			continue // cannot be: the body was parsed
		}
		if types == nil || slices.ContainsFunc(types, func(t string) bool { return isOf(out.String(), t) }) {
			texts = append(texts, out.String())
		}
	}
	if len(texts) == 0 {
		v.Fail(dialect.CodeInvalidValue, "%s has no value of the schema's type", v.Param())
		return nil
	}
	return []int32{c.g.add(node{kind: literal, texts: newTrie(texts)})}
}

// isOf says whether a JSON text has a type.
func isOf(value, kind string) bool {
	switch value[0] {
	case '{':
		return kind == "object"
	case '[':
		return kind == "array"
	case '"':
		return kind == "string"
	case 't', 'f':
		return kind == "boolean"
	case 'n':
		return kind == "null"
	}
	return kind == "number" || kind == "integer" && !strings.ContainsAny(value, ".eE")
}

// trie holds texts by their bytes. Its root is place 0.
type trie struct {
	places []place
}

type place struct {
	next []step
	text int32   // the text that ends here, or -1
	all  []int32 // the texts that go through here, in rising order
}

type step struct {
	by byte
	to int32
}

func newTrie(texts []string) *trie {
	t := &trie{places: []place{{text: -1}}}
	for i, s := range texts {
		at := int32(0)
		for j := range len(s) {
			t.places[at].all = append(t.places[at].all, int32(i))
			to := t.child(at, s[j])
			if to < 0 {
				to = int32(len(t.places))
				t.places = append(t.places, place{text: -1})
				p := &t.places[at]
				p.next = append(p.next, step{s[j], to})
				sort.Slice(p.next, func(a, b int) bool { return p.next[a].by < p.next[b].by })
			}
			at = to
		}
		t.places[at].all = append(t.places[at].all, int32(i))
		t.places[at].text = int32(i)
	}
	return t
}

// child returns the place after one more byte, or -1.
func (t *trie) child(at int32, b byte) int32 {
	for _, s := range t.places[at].next {
		if s.by == b {
			return s.to
		}
	}
	return -1
}
