package constrain

import (
	"math"
	"slices"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// typed returns a node for each type. Without a type, those that the keywords are
// about: what they say of one type holds for none of another.
func (c *compiler) typed(o dialect.Object, path string, types []string) []int32 {
	has := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { _, ok := o.Any(w); return ok })
	}
	if types == nil {
		for name, words := range map[string][]string{"object": objectWords, "array": arrayWords, "string": textWords, "number": numberWords} {
			if has(words) {
				types = append(types, name)
			}
		}
		slices.Sort(types)
	}
	var out []int32
	for _, t := range types {
		at := int32(-1)
		switch t {
		case "object":
			at = c.objectNode(o, path)
		case "array":
			at = c.arrayNode(o, path)
		case "string":
			at = c.textNode(o)
		case "number":
			at = c.numberNode(o, anyNumber, finestNumber)
		case "integer":
			at = c.numberNode(o, anyInteger, anyInteger)
		case "boolean":
			at = c.g.add(node{kind: literal, texts: newTrie([]string{"true", "false"})})
		case "null":
			at = c.g.add(node{kind: literal, texts: newTrie([]string{"null"})})
		}
		if at >= 0 {
			out = append(out, at)
		}
	}
	c.check(o, path, types)
	return out
}

// check refuses what the keywords say wrongly of types that are not allowed.
func (c *compiler) check(o dialect.Object, path string, types []string) {
	if o.Err() != nil {
		return
	}
	for _, unused := range []struct {
		kind string
		read func()
	}{
		{"object", func() { c.objectNode(o, path) }}, {"array", func() { c.arrayNode(o, path) }}, {"string", func() { c.textNode(o) }},
	} {
		words := map[string][]string{"object": objectWords, "array": arrayWords, "string": textWords}[unused.kind]
		if !slices.Contains(types, unused.kind) && slices.ContainsFunc(words, func(w string) bool { _, ok := o.Any(w); return ok }) {
			unused.read()
		}
	}
}

func (c *compiler) objectNode(o dialect.Object, path string) int32 {
	n := node{kind: object, others: -1}
	at := c.g.add(n)
	var names []string
	index := map[string]int{}
	declared, given := o.Get("properties")
	if given {
		properties := declared.Object()
		for _, name := range properties.Order() {
			p, _ := properties.Any(name)
			if p.Kind() != dialect.KindObject && p.Kind() != dialect.KindBoolean {
				p.Fail(dialect.CodeInvalidType, "%s must be a schema, not %s", p.Param(), p.Kind())
				return at
			}
			index[name] = len(names)
			names = append(names, name)
			n.properties = append(n.properties, property{node: c.schema(p, below(below(path, "properties"), name))})
		}
	}
	n.others = c.others(o, path, len(names) > 0)
	required, _ := o.Get("required")
	if _, ok := o.Get("required"); ok {
		for _, r := range required.Elements() {
			name := r.String()
			i, ok := index[name]
			if !ok {
				i = len(names)
				index[name] = i
				names = append(names, name)
				n.properties = append(n.properties, property{node: c.unnamed(o, path)})
			}
			n.properties[i].required = true
		}
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = string(dialect.AppendString(nil, name)[1:])
	}
	n.texts = newTrie(keys)
	n.nextRequired = make([]int32, len(names)+1)
	n.nextRequired[len(names)] = int32(len(names))
	for i := len(names) - 1; i >= 0; i-- {
		n.nextRequired[i] = n.nextRequired[i+1]
		if n.properties[i].required {
			n.nextRequired[i] = int32(i)
		}
	}
	c.g.nodes[at] = n
	return at
}

// others returns what properties that are not named may be, or -1.
func (c *compiler) others(o dialect.Object, path string, named bool) int32 {
	v, ok := o.Get("additionalProperties")
	if !ok {
		if named {
			return -1
		}
		return c.any()
	}
	if v.Kind() == dialect.KindBoolean && !v.Bool() {
		return -1
	}
	return c.schema(v, below(path, "additionalProperties"))
}

// unnamed returns what a property may be that is required and not declared.
func (c *compiler) unnamed(o dialect.Object, path string) int32 {
	if v, ok := o.Get("additionalProperties"); ok {
		return c.schema(v, below(path, "additionalProperties"))
	}
	return c.any()
}

func (c *compiler) arrayNode(o dialect.Object, path string) int32 {
	if v, ok := o.Get("items"); ok {
		if v.Kind() == dialect.KindArray {
			v.Unsupported("an array in " + v.Param())
			return -1
		}
		return c.g.add(node{kind: array, items: c.schema(v, below(path, "items"))})
	}
	return c.g.add(node{kind: array, items: c.any()})
}

func (c *compiler) textNode(o dialect.Object) int32 {
	n := node{kind: text, maxLength: -1}
	if v, ok := o.Get("minLength"); ok {
		n.minLength = int(v.Int(0, math.MaxInt32))
	}
	if v, ok := o.Get("maxLength"); ok {
		n.maxLength = int(v.Int(0, math.MaxInt32))
		if n.maxLength < n.minLength {
			v.Fail(dialect.CodeInvalidValue, "%s is less than minLength", v.Param())
		}
	}
	return c.g.add(n)
}

func (c *compiler) numberNode(o dialect.Object, usual, finest span) int32 {
	s, ok := bounded(o, usual)
	if !ok {
		s, ok = bounded(o, finest)
	}
	if !ok {
		return -1
	}
	return c.g.add(node{kind: number, number: s})
}
