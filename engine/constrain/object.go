package constrain

// The places in an object. c.i is the first property that may still come; after a
// key, the property that it names.
const (
	beforeObject uint8 = iota
	beforeFirstKey
	inKey      // c.j is the place in the trie of keys
	inOtherKey // c.j is so too, or -1 when it can be none of them; c.n counts bytes
	afterKey
	beforeValue
	spacedValue
	afterValue
	beforeKey // after a comma
	spacedKey // and a space
)

// maxOtherKey is how long a key may be that the schema does not name.
const maxOtherKey = 64

func (g *Grammar) stepObject(c config, b byte, out []config) []config {
	n := &g.nodes[c.node]
	switch c.phase {
	case beforeObject:
		return c.when(b == '{', beforeFirstKey, out)
	case inKey:
		return g.stepKey(c, b, out)
	case inOtherKey:
		return g.stepOtherKey(c, b, out)
	case afterKey:
		return c.when(b == ':', beforeValue, out)
	case beforeFirstKey, afterValue:
		if b == '}' && int(n.nextRequired[c.i]) == len(n.properties) {
			return g.pop(c, out)
		}
		if c.phase == afterValue {
			return c.when(b == ',' && (g.named(n, c.i, c.depth) || g.unnamed(n, c.i, c.depth)), beforeKey, out)
		}
	case beforeKey:
		if b == ' ' {
			return c.when(true, spacedKey, out)
		}
	case beforeValue, spacedValue:
		if b == ' ' {
			return c.when(c.phase == beforeValue, spacedValue, out)
		}
		value := n.others
		if int(c.i) < len(n.properties) {
			value = n.properties[c.i].node
			c.i++
		}
		c.phase = afterValue
		return g.enter(value, c, b, out)
	}
	if b != '"' {
		return out
	}
	c.j = 0
	if g.named(n, c.i, c.depth) {
		out = c.when(true, inKey, out)
	}
	if g.unnamed(n, c.i, c.depth) {
		c.i = int32(len(n.properties))
		out = c.when(true, inOtherKey, out)
	}
	return out
}

// when goes on in a phase if it may.
func (c config) when(ok bool, phase uint8, out []config) []config {
	if !ok {
		return out
	}
	c.phase = phase
	return append(out, c)
}

// may says whether a property may come when those before from are done with: none
// that is required is left out, and its value has room.
func (g *Grammar) may(n *node, from, property int32, depth uint8) bool {
	return property >= from && property <= n.nextRequired[from] && g.fits(n.properties[property].node, depth+1)
}

func (g *Grammar) named(n *node, from int32, depth uint8) bool {
	for p := from; p < int32(len(n.properties)) && p <= n.nextRequired[from]; p++ {
		if g.may(n, from, p, depth) {
			return true
		}
	}
	return false
}

// unnamed says whether a property may come that the schema does not name.
func (g *Grammar) unnamed(n *node, from int32, depth uint8) bool {
	return n.others >= 0 && int(n.nextRequired[from]) == len(n.properties) && g.fits(n.others, depth+1)
}

func (g *Grammar) stepKey(c config, b byte, out []config) []config {
	n := &g.nodes[c.node]
	if c.j = n.texts.child(c.j, b); c.j < 0 {
		return out
	}
	at := &n.texts.places[c.j]
	for _, p := range at.all {
		if !g.may(n, c.i, p, c.depth) {
			continue
		}
		if at.text >= 0 { // no other key begins with it: its closing quote is there
			c.i, c.j, c.phase = p, 0, afterKey
		}
		return append(out, c)
	}
	return out
}

// stepOtherKey reads a key that is none of those that the schema names. It has no
// escapes, by which it could be one in disguise.
func (g *Grammar) stepOtherKey(c config, b byte, out []config) []config {
	t := g.nodes[c.node].texts
	if b == '"' && c.tail == 0 {
		if c.j >= 0 && t.child(c.j, b) >= 0 {
			return out
		}
		c.phase, c.j, c.n = afterKey, 0, 0
		return append(out, c)
	}
	if b == '\\' || c.n >= maxOtherKey && c.tail == 0 {
		return out
	}
	tail, ok := utf8Tail(c.tail, b)
	if !ok {
		return out
	}
	c.tail = tail
	c.n++
	if c.j >= 0 {
		c.j = t.child(c.j, b)
	}
	return append(out, c)
}
