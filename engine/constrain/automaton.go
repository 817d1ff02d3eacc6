package constrain

// config is a place where an answer may stand: in a node, with what is around it.
// Its numbers mean what the node's kind says.
type config struct {
	node  int32 // done after the last byte
	phase uint8
	tail  uint8 // of a character that is being read: what must follow
	minus bool
	depth uint8 // containers around the node
	i, j  int32
	n     int64
	up    *config // what goes on after the node; nil at the top
}

const done = -1

// maxPlaces is in how many places an answer may stand at once. Those that are left
// out make the grammar smaller, never wrong.
const maxPlaces = 32

// step appends the places after one more byte.
func (g *Grammar) step(c config, b byte, out []config) []config {
	if c.node == done {
		return out
	}
	switch n := &g.nodes[c.node]; n.kind {
	case anyOf:
		for _, a := range n.alternatives {
			if g.fits(a, c.depth) {
				out = g.step(config{node: a, depth: c.depth, up: c.up}, b, out)
			}
		}
		return out
	case literal:
		return g.stepLiteral(c, b, out)
	case text:
		return g.stepText(c, b, out)
	case number:
		return g.stepNumber(c, b, out)
	case object:
		return g.stepObject(c, b, out)
	case series, repeat:
		return g.stepParts(c, b, out)
	default:
		return g.stepArray(c, b, out)
	}
}

// fits says whether a node's least value nests no deeper than allowed.
func (g *Grammar) fits(node int32, depth uint8) bool {
	return int(depth)+g.nodes[node].rank <= MaxDepth
}

// pop goes on after a node that has ended.
func (g *Grammar) pop(c config, out []config) []config {
	up := c.up
	for up != nil && g.over(up) {
		up = up.up
	}
	if up == nil {
		return append(out, config{node: done})
	}
	return append(out, *up)
}

// resume gives a byte to what is around a node that ended before it.
func (g *Grammar) resume(c config, b byte, out []config) []config {
	if c.up == nil {
		return out
	}
	return g.step(*c.up, b, out)
}

func (g *Grammar) stepLiteral(c config, b byte, out []config) []config {
	t := g.nodes[c.node].texts
	if t.places[c.i].text >= 0 {
		out = g.resume(c, b, out)
	}
	if c.i = t.child(c.i, b); c.i < 0 {
		return out
	}
	if len(t.places[c.i].next) == 0 {
		return g.pop(c, out)
	}
	return append(out, c)
}

// enter reads the first byte of a node within another one.
func (g *Grammar) enter(node int32, around config, b byte, out []config) []config {
	up := new(config) // a copy, so that only those who enter allocate
	*up = around
	return g.step(config{node: node, depth: around.depth + 1, up: up}, b, out)
}

// ended says whether an answer that stands there may end.
func (g *Grammar) ended(c *config) bool {
	if c.node == done {
		return true
	}
	if c.up != nil {
		return false
	}
	switch n := &g.nodes[c.node]; n.kind {
	case number:
		return n.number.ends(c)
	case literal:
		return n.texts.places[c.i].text >= 0
	case repeat:
		return c.i == afterCall
	}
	return false
}

// The places in an array.
const (
	beforeArray uint8 = iota
	beforeFirst
	afterItem
	beforeItem // after a comma
	spacedItem // and a space
)

func (g *Grammar) stepArray(c config, b byte, out []config) []config {
	n := &g.nodes[c.node]
	room := g.fits(n.items, c.depth+1)
	switch {
	case c.phase == beforeArray:
		if b != '[' {
			return out
		}
		c.phase = beforeFirst
		return append(out, c)
	case b == ']' && (c.phase == beforeFirst || c.phase == afterItem):
		return g.pop(c, out)
	case c.phase == afterItem:
		if b != ',' || !room {
			return out
		}
		c.phase = beforeItem
		return append(out, c)
	case b == ' ' && c.phase == beforeItem:
		c.phase = spacedItem
		return append(out, c)
	case !room:
		return out
	}
	c.phase = afterItem
	return g.enter(n.items, c, b, out)
}

// distinct drops the places that are the same, and those that are too many.
func (g *Grammar) distinct(all []config) []config {
	if len(all) < 2 {
		return all
	}
	most := max(maxPlaces, g.places)
	kept := all[:1]
next:
	for _, c := range all[1:] {
		for i := range kept {
			if same(&kept[i], &c) {
				continue next
			}
		}
		if len(kept) < most {
			kept = append(kept, c)
		}
	}
	return kept
}

func same(a, b *config) bool {
	for a != b {
		if a == nil || b == nil {
			return false
		}
		x, y := *a, *b
		x.up, y.up = nil, nil
		if x != y {
			return false
		}
		a, b = a.up, b.up
	}
	return true
}
