package engine

import (
	"slices"
	"strings"

	"github.com/semantic-pod/semantic/engine/chat"
	"github.com/semantic-pod/semantic/engine/constrain"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/text"
)

// caller reads the calls of tools out of an answer while it is made. An answer is text
// and then calls: from the first opening on the sampler lets through what is a call of
// a tool that the request has, with arguments that its schema allows, and nothing else.
// So every call that is complete is a good one. In a form without a mark, text that is
// no call may not come before one.
type caller struct {
	form     *chat.CallForm
	openings []string // of calls
	grammar  *constrain.Grammar
	words    *constrain.Vocabulary
	stops    []string // of the text before the calls
	must     bool     // the answer is calls from its first token on
	spoken   bool     // there was text
	begun    bool     // the text is over
	waiting  string   // what was not read yet
	reading  bool     // the arguments of a call
	depth    int      // of brackets in them
	quoted   bool
	escaped  bool
	begins   int // calls
	complete int // calls
}

// stream returns what cuts the answer's text off before its first call.
func (c *caller) stream() *text.Stream {
	return text.NewStream(slices.Concat(c.stops, c.openings))
}

// matcher returns what holds an answer to its calls from their beginning on.
func (c *caller) matcher() *constrain.Matcher { return constrain.NewMatcher(c.grammar, c.words) }

// speak takes the bytes of a token and returns the text and the calls that are certain
// to belong to the answer, and whether a stop string has ended it.
func (s *sequence) speak(piece []byte) (out string, calls []dialect.CallDelta, stopped bool) {
	out, stopped = s.stream.Push(piece)
	c := s.calls
	if c == nil {
		return out, nil, stopped
	}
	if c.begun {
		return "", c.read(out), false
	}
	c.spoken = c.spoken || strings.TrimSpace(out) != ""
	opening := s.stream.Matched()
	if !stopped || !slices.Contains(c.openings, opening) {
		return out, nil, stopped
	}
	rest := s.stream.Rest()
	if c.begun = s.holdToCalls(opening, rest); c.begun {
		s.picker.tell = false // what is told are the tokens of the text
		s.stream = text.NewStream(nil)
		more, _ := s.stream.Push(rest)
		return out, c.read(opening + more), false
	}
	c.spoken = true
	s.stream = c.stream() // it only looked like a call
	more, calls, stopped := s.speak(rest)
	return out + opening + more, calls, stopped
}

// holdToCalls makes sure that calls alone can follow. It is false if what was said is none.
func (s *sequence) holdToCalls(opening string, rest []byte) bool {
	if s.calls.must {
		return true // it is held already
	}
	if s.calls.form.Mark == "" && s.calls.spoken {
		return false
	}
	m := s.calls.matcher()
	if !m.Accept([]byte(opening)) || !m.Accept(rest) {
		return false
	}
	s.picker.format = m
	return true
}

// flush ends the answer and returns what was still waiting.
func (s *sequence) flush() (out string, calls []dialect.CallDelta) {
	out = s.stream.Flush()
	if s.calls.over() {
		return "", s.calls.read(out)
	}
	return out, nil
}

// read goes on with the text of calls.
func (c *caller) read(more string) (out []dialect.CallDelta) {
	c.waiting += more
	for {
		if !c.reading {
			head, rest, whole := strings.Cut(c.waiting, c.form.Arguments)
			if !whole {
				return out
			}
			c.waiting, c.reading = rest, true
			out = append(out, dialect.CallDelta{Index: c.begins, Name: head[strings.LastIndexByte(head, '"')+1:]})
			c.begins++
		}
		n := c.arguments()
		if n == 0 {
			return out
		}
		c.reading = c.depth > 0
		out = append(out, dialect.CallDelta{Index: c.begins - 1, Arguments: c.waiting[:n], Complete: !c.reading})
		c.waiting = c.waiting[n:]
		if c.reading {
			return out
		}
		c.complete++
	}
}

// arguments returns how much of what waits belongs to the object that is read.
func (c *caller) arguments() int {
	for i := range len(c.waiting) {
		switch b := c.waiting[i]; {
		case c.escaped:
			c.escaped = false
		case c.quoted && b == '\\':
			c.escaped = true
		case b == '"':
			c.quoted = !c.quoted
		case c.quoted:
		case b == '{' || b == '[':
			c.depth++
		case b == '}' || b == ']':
			if c.depth--; c.depth == 0 {
				return i + 1
			}
		}
	}
	return len(c.waiting)
}

// over says whether the text of an answer is over, because its calls have begun.
func (c *caller) over() bool { return c != nil && c.begun }

// called says whether the answer has a call that is complete.
func (c *caller) called() bool { return c != nil && c.complete > 0 }

// callsOf are the ways in which an answer may call the tools of a request, and what may
// stand between two of them.
func callsOf(r *dialect.Request, form *chat.CallForm) (calls []constrain.Call, between string) {
	for _, t := range r.Tools {
		if r.ToolUse.Name != "" && r.ToolUse.Name != t.Name {
			continue
		}
		for _, head := range form.Heads {
			calls = append(calls, constrain.Call{Before: head + t.Name + form.Arguments, Arguments: t.Parameters, After: form.Close})
		}
	}
	if !r.ToolUse.Once && form.Between != "" {
		between = form.Between + form.Mark
	}
	return calls, between
}
