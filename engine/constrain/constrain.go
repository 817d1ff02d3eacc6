// Package constrain keeps a model's answer within a JSON schema: after every token
// it says which tokens may follow, so that an answer that is complete always parses
// and always validates.
//
// A schema is compiled into a grammar, whose nodes are the kinds of JSON values. A
// Matcher reads an answer byte by byte with a pushdown automaton over them: it holds
// the few places where the answer may stand, each with the containers around it.
// What may follow is a mask over the vocabulary, found by walking the tokens' bytes
// as a trie, and kept for the next time that an answer stands in the same places.
//
// What a grammar lets through is a part of what its schema does: JSON is compact,
// with one space at most after a colon or a comma, so that no model can go on with
// white space for ever; properties come in the schema's order; numbers have no
// exponent and at most 17 digits; containers nest no more than MaxDepth deep; an
// object that names properties has no others unless the schema says
// additionalProperties. Every place that the automaton reaches has a way to the end.
//
// Read: constrain, schema, types, literals, number, calls, automaton, object, text, vocabulary, matcher.
package constrain

import (
	"slices"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// MaxDepth is how deeply the containers of an answer may nest.
const MaxDepth = 32

// maxNodes bounds what a schema may cost.
const maxNodes = 4096

type kind uint8

const (
	anyOf   kind = iota // any of its alternatives
	literal             // one of some texts
	text
	number
	object
	array
	series // its parts, one after the other
	repeat // calls: what opens the first, a call, what comes between two
)

// node is one kind of value that the grammar has. The places for others are indexes.
type node struct {
	kind kind
	rank int // how many containers it takes at least; endless if it cannot be satisfied

	alternatives []int32
	texts        *trie // of a literal; of an object, its keys up to the closing quote

	minLength, maxLength int // of a text, in characters; maxLength -1 is unbounded

	number span

	properties   []property
	nextRequired []int32 // by property: the first required one from there on, or len(properties)
	others       int32   // what the other properties are; -1 if there are none

	items int32

	parts []int32
}

type property struct {
	node     int32
	required bool
}

// endless is the rank of what cannot be satisfied.
const endless = 1 << 20

// Grammar is a compiled schema. It may be used by many matchers at once.
type Grammar struct {
	nodes  []node
	root   int32
	places int // in how many an answer may stand at once; 0 for maxPlaces
	masks  masks
}

// Object returns the grammar of any JSON object.
func Object() *Grammar {
	g := &Grammar{}
	free := g.free()
	for _, i := range g.nodes[free].alternatives {
		if g.nodes[i].kind == object {
			g.root = i
		}
	}
	g.rank()
	return g
}

// Schema compiles a JSON schema. What cannot be kept is noted as the value's fault.
func Schema(v dialect.Value) *Grammar {
	c := compiler{g: &Grammar{}, document: v, known: map[string]int32{}}
	c.g.root = c.schema(v, "")
	if v.Err() != nil {
		return nil
	}
	c.g.flatten()
	c.g.rank()
	if c.g.nodes[c.g.root].rank > MaxDepth {
		v.Fail(dialect.CodeInvalidValue, "%s cannot be satisfied by any value nested %d deep at most", v.Param(), MaxDepth)
	}
	return c.g
}

func (g *Grammar) add(n node) int32 {
	g.nodes = append(g.nodes, n)
	return int32(len(g.nodes) - 1)
}

// free adds any JSON value and returns its node.
func (g *Grammar) free() int32 {
	any := g.add(node{kind: anyOf})
	g.nodes[any].alternatives = []int32{
		g.add(node{kind: object, others: any, nextRequired: []int32{0}, texts: newTrie(nil)}), g.add(node{kind: array, items: any}),
		g.add(node{kind: text, maxLength: -1}), g.add(node{kind: number, number: anyNumber}),
		g.add(node{kind: literal, texts: newTrie([]string{"true", "false", "null"})}),
	}
	return any
}

// flatten replaces alternatives that have alternatives themselves by those, so that
// no step goes in circles.
func (g *Grammar) flatten() {
	for i := range g.nodes {
		if g.nodes[i].kind != anyOf {
			continue
		}
		var flat []int32
		seen := map[int32]bool{int32(i): true}
		left := slices.Clone(g.nodes[i].alternatives)
		for len(left) > 0 {
			next := left[0]
			left = left[1:]
			if seen[next] {
				continue
			}
			seen[next] = true
			if g.nodes[next].kind == anyOf {
				left = append(slices.Clone(g.nodes[next].alternatives), left...)
			} else {
				flat = append(flat, next)
			}
		}
		g.nodes[i].alternatives = flat
	}
}

// rank finds how many containers each node takes at least.
func (g *Grammar) rank() {
	for i := range g.nodes {
		g.nodes[i].rank = endless
	}
	for changed := true; changed; {
		changed = false
		for i := range g.nodes {
			if r := g.least(&g.nodes[i]); r < g.nodes[i].rank {
				g.nodes[i].rank, changed = r, true
			}
		}
	}
}

func (g *Grammar) least(n *node) int {
	switch n.kind {
	case anyOf:
		least := endless
		for _, a := range n.alternatives {
			least = min(least, g.nodes[a].rank)
		}
		return least
	case object:
		most := 0
		for _, p := range n.properties {
			if p.required {
				most = max(most, g.nodes[p.node].rank)
			}
		}
		return min(1+most, endless)
	case array:
		return 1
	case series, repeat:
		return g.leastOf(n.parts)
	}
	return 0
}
