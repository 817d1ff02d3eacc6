package constrain

import (
	"slices"
	"strconv"
	"strings"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// compiler turns a schema into nodes.
type compiler struct {
	g        *Grammar
	document dialect.Value
	known    map[string]int32 // node by the path of its schema
	free     int32            // the node of any value, once there is one; it is never 0
}

// annotations say nothing about what is valid.
var annotations = []string{"title", "description", "default", "examples", "$comment", "$schema", "$defs", "definitions", "deprecated", "readOnly", "writeOnly"}

// The keywords that bound values of one type.
var (
	objectWords = []string{"properties", "required", "additionalProperties"}
	arrayWords  = []string{"items"}
	textWords   = []string{"minLength", "maxLength"}
	numberWords = []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)

var keywords = slices.Concat([]string{"type", "enum", "const", "anyOf", "$ref"}, objectWords, arrayWords, textWords, numberWords)

// schema returns the node of a schema.
func (c *compiler) schema(v dialect.Value, path string) int32 {
	if at, ok := c.known[path]; ok {
		return at
	}
	at := c.g.add(node{kind: anyOf}) // no alternatives yet: false
	c.known[path] = at
	if len(c.g.nodes) > maxNodes {
		v.Fail(dialect.CodeInvalidValue, "the schema is too large: it has more than %d parts", maxNodes)
	}
	if v.Err() != nil {
		return at
	}
	if v.Kind() == dialect.KindBoolean {
		if v.Bool() {
			c.become(at, c.any())
		}
		return at
	}
	o := v.Object()
	for _, name := range o.Names() {
		if !slices.Contains(annotations, name) && !slices.Contains(keywords, name) {
			f, _ := o.Any(name)
			f.Unsupported("the schema keyword " + f.Param())
			return at
		}
	}
	c.become(at, c.object(o, path)...)
	return at
}

// any returns the node of any value.
func (c *compiler) any() int32 {
	if c.free == 0 {
		c.free = c.g.free()
	}
	return c.free
}

// below is the path of a part, a JSON pointer.
func below(path, name string) string {
	return path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// become makes a node any of those.
func (c *compiler) become(at int32, alternatives ...int32) {
	c.g.nodes[at].alternatives = alternatives
}

// object returns what a schema that is an object allows.
func (c *compiler) object(o dialect.Object, path string) []int32 {
	if ref, ok := o.Get("$ref"); ok {
		c.alone(o, "$ref")
		return []int32{c.reference(ref)}
	}
	if all, ok := o.Get("anyOf"); ok {
		c.alone(o, "anyOf")
		var out []int32
		for i, s := range all.Elements() {
			out = append(out, c.schema(s, below(below(path, "anyOf"), strconv.Itoa(i))))
		}
		if len(out) == 0 {
			all.Fail(dialect.CodeInvalidValue, "%s must not be empty", all.Param())
		}
		return out
	}
	types := c.types(o)
	for _, name := range []string{"const", "enum"} {
		if v, ok := o.Any(name); ok {
			c.alone(o, name, "type")
			return c.constants(v, name == "enum", types)
		}
	}
	if types == nil && !slices.ContainsFunc(o.Names(), func(n string) bool { return slices.Contains(keywords, n) }) {
		return []int32{c.any()}
	}
	return c.typed(o, path, types)
}

// alone refuses keywords beside one with which they would have to be combined.
func (c *compiler) alone(o dialect.Object, name string, and ...string) {
	for _, other := range o.Names() {
		if other == name || slices.Contains(annotations, other) || slices.Contains(and, other) {
			continue
		}
		f, _ := o.Any(other)
		f.Unsupported("the schema keyword " + f.Param() + " beside " + name)
	}
}

// reference follows a local $ref.
func (c *compiler) reference(ref dialect.Value) int32 {
	path, local := strings.CutPrefix(ref.String(), "#")
	if !local || path != "" && path[0] != '/' {
		ref.Unsupported("a reference that is not a path within the schema (" + ref.Param() + ")")
		return 0
	}
	if at, ok := c.known[path]; ok {
		return at
	}
	at, to := c.document, ""
	for _, step := range strings.Split(path, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		to = below(to, step)
		ok := at.Kind() == dialect.KindObject
		if ok {
			at, ok = at.Object().Get(step)
		}
		if !ok {
			ref.Fail(dialect.CodeInvalidValue, "%s names a part that the schema does not have", ref.Param())
			return 0
		}
	}
	return c.schema(at, to)
}

// types returns the types that a schema names, or nil.
func (c *compiler) types(o dialect.Object) []string {
	v, ok := o.Get("type")
	if !ok {
		return nil
	}
	values := []dialect.Value{v}
	if v.Kind() == dialect.KindArray {
		values = v.Elements()
	}
	types := []string{}
	for _, t := range values {
		name := t.String()
		switch name {
		case "object", "array", "string", "number", "integer", "boolean", "null":
			types = append(types, name)
		default:
			t.Fail(dialect.CodeInvalidValue, "%s must be a type of JSON schema", t.Param())
		}
	}
	if len(types) == 0 {
		v.Fail(dialect.CodeInvalidValue, "%s must not be empty", v.Param())
	}
	return types
}
