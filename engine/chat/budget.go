package chat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	controlstructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// What one rendering may take. A conversation of a thousand turns takes some thousand steps and a
// few milliseconds.
const (
	maxTime  = 2 * time.Second
	maxSteps = 1 << 20 // turns of loops and calls of macros
	maxDepth = 64      // macros in macros
	maxRange = 1 << 16
	maxExtra = 256 << 10 // bytes beyond four times the messages
)

// budgetKey is a name that no template can write.
const budgetKey = "\x00budget"

// budget is what is left of one rendering's.
type budget struct {
	deadline time.Time
	steps    int
	depth    int
	text     strings.Builder
	bytes    int
	failure  error // why the rendering had to end
}

// run renders the template. The interpreter's own errors may quote messages, which must not get
// into a log, so no more than their place is told.
func (t *Template) run(data map[string]any, size int) (text string, err error) {
	b := &budget{deadline: time.Now().Add(maxTime), steps: maxSteps, bytes: maxExtra + 4*size}
	data[budgetKey] = b
	data["raise_exception"] = b.raise
	data["strftime_now"] = t.strftimeNow
	defer func() {
		if recover() != nil {
			err = errors.New("cannot render the chat template: its interpreter failed")
		}
	}()
	err = t.compiled.Execute(b, exec.NewContext(data))
	switch {
	case b.failure != nil:
		return "", fmt.Errorf("cannot render the chat template: %w", b.failure)
	case err != nil:
		place := "somewhere"
		if m := linePattern.FindString(err.Error()); m != "" {
			place = "at " + m
		}
		return "", fmt.Errorf("cannot render the chat template: it fails %s", place)
	}
	return b.text.String(), nil
}

var linePattern = regexp.MustCompile(`line \d+`)

// fail ends the rendering.
func (b *budget) fail(err error) error {
	b.failure = err
	return err
}

// Write takes the rendered text.
func (b *budget) Write(p []byte) (int, error) {
	if b.bytes -= len(p); b.bytes < 0 {
		return 0, b.fail(errors.New("it writes too much"))
	}
	return b.text.Write(p)
}

func (b *budget) step() error {
	b.steps--
	if b.steps < 0 {
		return b.fail(fmt.Errorf("it takes more than %d steps", maxSteps))
	}
	if b.steps%64 == 0 && time.Now().After(b.deadline) {
		return b.fail(fmt.Errorf("it takes longer than %v", maxTime))
	}
	return nil
}

func (b *budget) raise(arguments *exec.VarArgs) (string, error) {
	return "", b.fail(&Refusal{arguments.First().String()})
}

// node is a tag that takes from the budget.
type node struct {
	at    *tokens.Token
	spend func(*budget) error
}

func (n node) Position() *tokens.Token { return n.at }
func (n node) String() string          { return "budget" }

func (n node) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	b, _ := r.Environment.Context.Get(budgetKey)
	return n.spend(b.(*budget))
}

func before(body *nodes.Wrapper, spend func(*budget) error) {
	body.Nodes = append([]nodes.Node{block(body, spend)}, body.Nodes...)
}

func after(body *nodes.Wrapper, spend func(*budget) error) {
	body.Nodes = append(body.Nodes, block(body, spend))
}

func block(body *nodes.Wrapper, spend func(*budget) error) nodes.Node {
	n := node{at: body.Location, spend: spend}
	if n.at == nil {
		n.at = new(tokens.Token)
	}
	return &nodes.ControlStructureBlock{Location: n.at, Name: "budget", ControlStructure: n}
}

// parseFor is the built-in tag, with a step for each turn.
func parseFor(p, arguments *parser.Parser) (nodes.ControlStructure, error) {
	parse, _ := controlstructures.All.Get("for")
	tag, err := parse(p, arguments)
	if err != nil {
		return nil, err
	}
	loop := tag.(*controlstructures.ForControlStructure)
	if loop.Recursive {
		return nil, errors.New("recursive loops are not supported")
	}
	before(loop.BodyWrapper, (*budget).step)
	return loop, nil
}

// parseMacro is the built-in tag, with a step for each call and a bound on calls in calls: the
// interpreter recurses on the goroutine's stack, whose end would be the end of the process.
func parseMacro(p, arguments *parser.Parser) (nodes.ControlStructure, error) {
	parse, _ := controlstructures.All.Get("macro")
	tag, err := parse(p, arguments)
	if err != nil {
		return nil, err
	}
	macro := tag.(*controlstructures.MacroControlStructure)
	before(macro.Wrapper, func(b *budget) error {
		if b.depth++; b.depth > maxDepth {
			return b.fail(fmt.Errorf("it calls macros more than %d deep", maxDepth))
		}
		return b.step()
	})
	after(macro.Wrapper, func(b *budget) error {
		b.depth--
		return nil
	})
	return macro, nil
}
