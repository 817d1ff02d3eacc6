package constrain

import (
	"github.com/semantic-pod/semantic/engine/dialect"
)

// Call is one way in which an answer may call a function: some text, the arguments as
// JSON, and some text.
type Call struct {
	Before    string
	Arguments *dialect.Value // the schema of an object; nil for {}
	After     string
}

// Calls returns the grammar of an answer that is the text open and then one of the
// calls; with a text between, more of them may follow. Both texts may be empty, between
// alone too. What cannot be kept of a schema is noted as its value's fault.
func Calls(open string, calls []Call, between string) *Grammar {
	g := &Grammar{places: maxPlaces + len(calls)}
	one := g.add(node{kind: anyOf})
	for _, call := range calls {
		g.nodes[one].alternatives = append(g.nodes[one].alternatives, g.call(call))
	}
	g.root = one
	if open != "" {
		n := node{kind: repeat, parts: []int32{g.exactly(open), one, -1}}
		if between != "" {
			n.parts[2] = g.exactly(between)
		}
		g.root = g.add(n)
	}
	g.flatten()
	for _, call := range calls {
		if call.Arguments != nil && call.Arguments.Err() != nil {
			return nil
		}
	}
	g.rank()
	for i, at := range g.nodes[one].alternatives {
		if g.nodes[at].rank > MaxDepth {
			v := calls[i].Arguments
			v.Fail(dialect.CodeInvalidValue, "%s cannot be satisfied by any value nested %d deep at most", v.Param(), MaxDepth)
			return nil
		}
	}
	return g
}

// call adds a series of the texts and the arguments of a call.
func (g *Grammar) call(call Call) int32 {
	var arguments int32
	if call.Arguments == nil {
		arguments = g.add(node{kind: object, others: -1, nextRequired: []int32{0}, texts: newTrie(nil)})
	} else {
		arguments = g.arguments(*call.Arguments)
	}
	return g.add(node{kind: series, parts: []int32{g.exactly(call.Before), arguments, g.exactly(call.After)}})
}

// arguments compiles a schema that allows objects alone.
func (g *Grammar) arguments(v dialect.Value) int32 {
	c := compiler{g: g, document: v, known: map[string]int32{}}
	at := c.schema(v, "")
	seen := map[int32]bool{}
	for left := []int32{at}; len(left) > 0 && v.Err() == nil; {
		next := left[0]
		left = left[1:]
		switch {
		case seen[next] || g.nodes[next].kind == object:
		case g.nodes[next].kind == anyOf:
			left = append(left, g.nodes[next].alternatives...)
		default:
			v.Fail(dialect.CodeInvalidValue, `%s must have the type "object"`, v.Param())
		}
		seen[next] = true
	}
	return at
}

// exactly adds a text.
func (g *Grammar) exactly(text string) int32 {
	return g.add(node{kind: literal, texts: newTrie([]string{text})})
}

// The places in a repeat.
const (
	beforeOpen int32 = iota
	beforeCall
	afterCall
)

// stepParts reads the first byte of the next part of a series or a repeat.
func (g *Grammar) stepParts(c config, b byte, out []config) []config {
	n := &g.nodes[c.node]
	if g.over(&c) {
		return g.resume(c, b, out)
	}
	part := n.parts[c.i]
	switch {
	case n.kind == series || c.i != afterCall:
		c.i++
	default:
		c.i = beforeCall
	}
	if part < 0 {
		return out
	}
	return g.enter(part, c, b, out)
}

// over says whether nothing can come any more of what a place is in.
func (g *Grammar) over(c *config) bool {
	if c.node == done {
		return true
	}
	switch n := &g.nodes[c.node]; n.kind {
	case series:
		return int(c.i) == len(n.parts)
	case repeat:
		return c.i == afterCall && n.parts[afterCall] < 0
	}
	return false
}

// leastOf is the most that any of its parts takes at least, and one more.
func (g *Grammar) leastOf(parts []int32) int {
	most := 0
	for _, p := range parts {
		if p >= 0 {
			most = max(most, g.nodes[p].rank)
		}
	}
	return min(1+most, endless)
}
